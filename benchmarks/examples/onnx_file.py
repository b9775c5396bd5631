"""Encodes with an ONNX file, which the environment variable ONNX_ENCODER names: waveforms (b, s)
in, embeddings out.

    ONNX_ENCODER=model.onnx python -m benchmarks.encoders \\
        --encoder=benchmarks.examples.onnx_file:embed --output=DIR
"""

import functools
import os

import numpy as np

from asd_jax.runtime.errors import InputError


@functools.cache
def session():
    """Returns the model, which is loaded once.

    Raises:
        InputError: The file does not exist, or is not an ONNX model of one input.
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
    # The exceptions of onnxruntime have no common base class.
    except Exception as error:
        raise InputError(f"{path}: not a model that onnxruntime can run ({error})") from error
    if len(loaded.get_inputs()) != 1:
        raise InputError(
            f"{path}: takes {len(loaded.get_inputs())} inputs; expected one, waveforms (b, s)"
        )
    return loaded


def embed(waves: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the model's first output for float32 waveforms (b, s): embeddings (b, e) or (b, t,
    e).
    """
    return session().run(None, {session().get_inputs()[0].name: waves})[0]
