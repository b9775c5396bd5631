"""Encodes with one of our own weight files, which the environment variable EAT_ENCODER names: with
it, a large EAT can be the teacher of a small one. Without it, the encoder that comes with the
package.

    EAT_ENCODER=eat_large.safetensors python -m asd_jax.pretrain --config=configs/distill_tiny.py \\
        --config.pretraining.teachers=benchmarks.examples.eat_file:embed \\
        --config.data.root=DIR --workdir=runs/distilled
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import front_end_of_eat, load_encoder


@functools.cache
def model() -> tuple[FrontEnd, EATConfig, dict]:
    """Returns the front end, the sizes and the parameters of the file, which is read once.

    Raises:
        InputError: the file does not exist or holds no EAT.
    """
    path = os.environ.get("EAT_ENCODER", "box")
    config, params = load_encoder(path)
    return front_end_of_eat(path, config), config, params


def embed(waves: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the last block's patch tokens, averaged over frequency: (b, t, e), a frame every
    0.16 s.
    """
    front, config, params = model()
    if sample_rate != front.sample_rate:
        raise InputError(f"{sample_rate} Hz; EAT takes {front.sample_rate} Hz")
    return np.asarray(_tokens(front, config, params, jnp.asarray(waves)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _tokens(front: FrontEnd, config: EATConfig, params: dict, waves: jax.Array) -> jax.Array:
    samples = waves.shape[1]
    spectrogram = front.attend(front.spectrogram(waves), None, samples)
    tokens, _ = EAT(config).apply({"params": params}, spectrogram)
    frames = rearrange(tokens[:, 1:], "b (t f) d -> b t f d", f=config.mel_bins // PATCH).mean(2)
    return frames[:, : -(-front.real_frames(samples) // PATCH)]  # without the padding
