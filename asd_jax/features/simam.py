"""Computes SimAM, parameter-free attention on the spectrogram, on the whole map or on tiles.

The two modes are called "global" and "local".
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, Int

from asd_jax.features.settings import LAMBDA, LOCAL_TILE

Mode = Literal["none", "global", "local"]
MODES: tuple[Mode, ...] = ("none", "global", "local")
Length = Any  # an int, or a symbol in an export whose input length stays open


@functools.partial(jax.jit, static_argnames=("tile", "e_lambda", "valid_frames"))
def simam(
    features: Float[Array, "b t f"],
    *,
    tile: tuple[int, int] | None = None,
    e_lambda: float = LAMBDA,
    valid_frames: Length | None = None,
) -> Float[Array, "b t f"]:
    """Returns the spectrogram "b t f" with each cell multiplied by its attention weight.

    The arguments are those of `simam_weights`.

    Example:
        attended = simam(spectrogram, tile=(32, 32))  # local
        attended = simam(spectrogram)  # global
    """
    return features * simam_weights(
        features, tile=tile, e_lambda=e_lambda, valid_frames=valid_frames
    )


@functools.partial(jax.jit, static_argnames=("tile", "e_lambda", "valid_frames"))
def simam_weights(
    features: Float[Array, "b t f"],
    *,
    tile: tuple[int, int] | None = None,
    e_lambda: float = LAMBDA,
    valid_frames: Length | None = None,
) -> Float[Array, "b t f"]:
    """Returns attention weights "b t f" in [0.622, 1), largest for cells far from their map's mean.

    weight = sigmoid(d / (4 (v + lambda)) + 0.5), d = (x - mean)^2, v = sum(d) / (M - 1) over the M
    cells of a map, which is the whole spectrogram of a clip or one tile of it. Yang et al., ICML
    2021; tiles: arXiv 2508.15334.

    Args:
        features: normalised spectrogram, or log energies (the statistics are per map either way).
        tile: None for one map per clip ("global"), or (frames, filters) of non-overlapping tiles
            ("local").
        e_lambda: keeps constant maps safe.
        valid_frames: take the statistics from this number of frames at the start only, so that
            padding does not count.

    Raises:
        ValueError: the tile does not divide the spectrogram.
    """
    b, t, f = features.shape
    rows, columns = tile or (t, f)
    if t % rows or f % columns:
        raise ValueError(
            f"SimAM tile {rows}x{columns} does not divide a spectrogram of {t} frames x {f} filters"
        )
    valid = jnp.arange(t)[None, :, None] < (t if valid_frames is None else valid_frames)
    maps = rearrange(features, "b (i r) (j c) -> b i j (r c)", r=rows, c=columns)
    # Padding that does not count must be left out tile by tile, as a tile may hold both.
    counted = rearrange(
        jnp.broadcast_to(valid, (1, t, f)), "b (i r) (j c) -> b i j (r c)", r=rows, c=columns
    )
    # A tile of padding only has no cells to count; this floor makes its mean and v 0.
    cells = jnp.maximum(counted.sum(-1, keepdims=True), 2)
    mean = (maps * counted).sum(-1, keepdims=True) / cells
    distance = jnp.square(maps - mean)
    # Unbiased, M - 1, as in the paper.
    variance = (distance * counted).sum(-1, keepdims=True) / (cells - 1)
    weights = jax.nn.sigmoid(distance / (4 * (variance + e_lambda)) + 0.5)
    return rearrange(weights, "b i j (r c) -> b (i r) (j c)", i=t // rows, r=rows)


def simam_by_clip(
    features: Float[Array, "b t f"],
    mode: Int[Array, "b"],
    *,
    tile: tuple[int, int] = LOCAL_TILE,
    e_lambda: float = LAMBDA,
    valid_frames: Length | None = None,
) -> Float[Array, "b t f"]:
    """Returns the spectrogram after SimAM with a mode per clip, an index into MODES.

    This is the paper's "customized" SimAM for batches of mixed machines.
    """
    # A compiled program cannot branch per clip, so all modes are computed and one is selected.
    attend = functools.partial(simam, features, e_lambda=e_lambda, valid_frames=valid_frames)
    return jnp.stack([features, attend(tile=None), attend(tile=tile)])[
        mode, jnp.arange(len(features))
    ]
