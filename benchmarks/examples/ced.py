"""Encodes with a public CED, whose model.safetensors (e.g. Hugging Face mispeech/ced-tiny) the
environment variable CED_WEIGHTS names.

    CED_WEIGHTS=model.safetensors python -m benchmarks.encoders \\
        --encoder=benchmarks.examples.ced:embed --output=DIR
"""

import functools
import os
from collections.abc import Callable

import jax
import numpy as np

from asd_jax.models.ced import CED, ced_params, decibel_mel
from asd_jax.runtime.errors import InputError


@functools.cache
def model() -> Callable[[jax.Array], jax.Array]:
    """Returns the function from waveforms "b s" to embeddings "b d", made once.

    Raises:
        InputError: The variable names no file, or the file is no CED.
    """
    from safetensors.numpy import load_file

    path = os.environ.get("CED_WEIGHTS", "")
    if not os.path.isfile(path):
        raise InputError(f"CED_WEIGHTS={path!r} names no file; set it to CED's model.safetensors")
    config, params = ced_params(load_file(path))

    @jax.jit
    def function(waves):
        return CED(config).apply({"params": params}, decibel_mel(waves)).mean((1, 2))

    return function


def embed(waves: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the mean of the tokens, float32 (b, e), of waveforms float32 (b, s) at 16 kHz."""
    return np.asarray(model()(waves))
