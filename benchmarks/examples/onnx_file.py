"""An encoder in ONNX: the file that the environment variable ONNX_ENCODER names, waves (b, s) in,
embeddings out.

ONNX_ENCODER=model.onnx python -m benchmarks.encoders --encoder=benchmarks.examples.onnx_file:embed
--output=DIR
"""

import functools
import os

import numpy as np

from asd_jax.runtime.errors import InputError


@functools.cache
def session():
    """The model, loaded once.

    Raises:
        InputError: no such file, or not an ONNX model of one input.
    """
    import onnxruntime

    path = os.environ.get("ONNX_ENCODER", "")
    if not os.path.isfile(path):
        raise InputError(
            f"ONNX_ENCODER={path!r} names no file; set it to an ONNX model that takes waveforms "
            "(b, s)"
        )
    try:
        loaded = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime's own, which have no common base
        raise InputError(f"{path}: not a model that onnxruntime can run ({error})") from error
    if len(loaded.get_inputs()) != 1:
        raise InputError(
            f"{path}: takes {len(loaded.get_inputs())} inputs; expected one, waveforms (b, s)"
        )
    return loaded


def embed(waves: np.ndarray, sample_rate: int) -> np.ndarray:
    """Waves float32 (b, s) -> the model's first output, embeddings (b, e) or (b, t, e)."""
    return session().run(None, {session().get_inputs()[0].name: waves})[0]
