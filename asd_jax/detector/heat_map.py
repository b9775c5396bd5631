"""Where in time and frequency a sound is odd: which patches of it are compared, and what a map of
them shows.
"""

import dataclasses
import functools

import jax
import numpy as np
from einops import rearrange
from jaxtyping import Float

from asd_jax.detector.views import in_batches, rate_of
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import PATCH
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.patch_bank import FILTERS, FRAMES, PatchBank, energy_patches, over_cells
from asd_jax.training.weights import Pipeline


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Where a sound is odd.

    Attributes:
        values: over the worst window's frames of 10 ms and the filters of `front_end`, in standard
            deviations of normal patches.
        start: of the window, in seconds.
        window: its samples, at the front end's rate.
        front_end: whose frames and filters these are.
        nearest: the normal recording nearest to the window.
        nearest_start: where in it, in seconds.
    """

    values: Float[np.ndarray, "t f"]
    start: float
    window: Float[np.ndarray, "s"]
    front_end: FrontEnd
    nearest: str
    nearest_start: float


@dataclasses.dataclass(frozen=True)
class Grid:
    """How patches lie on a front end's frames and filters: so many of each to a patch, and `width`
    numbers in it.
    """

    front_end: FrontEnd
    frames: int
    filters: int
    width: int


def grid(pipeline: Pipeline | None, tokens: bool) -> Grid:
    """Of the encoder's tokens, or of evenly spaced filters, whose patches point better
    (benchmarks/heat_map.py).

    Raises:
        InputError: tokens are wanted of an encoder that has none.
    """
    if not tokens:
        rate = rate_of(pipeline)
        return Grid(
            FrontEnd("even", rate, high_hz=rate / 2, simam=SimAM("none")), FRAMES, FILTERS, FILTERS
        )
    if pipeline is None or pipeline.config.eat is None:
        raise InputError("a heat map of tokens needs an encoder that has them, an EAT")
    return Grid(pipeline.config.front_end, PATCH, PATCH, pipeline.config.eat.embed_dim)


def patches(
    pipeline: Pipeline | None, tokens: bool, windows: Float[np.ndarray, "b s"]
) -> Float[np.ndarray, "b t f e"]:
    """Windows "b s" -> their patches, float32: log energies, or the tokens of the block in the
    middle of EAT.
    """
    of = functools.partial(_energies, grid(pipeline, tokens).front_end)
    if tokens and pipeline is not None:
        of = functools.partial(_tokens, pipeline.config, pipeline.params)
    return in_batches(of, windows)[0]


def odd_cells(
    pipeline: Pipeline | None, tokens: bool, normal: PatchBank, window: Float[np.ndarray, "s"]
) -> Float[np.ndarray, "t f"]:
    """Window -> how odd each of its frames and filters is, in standard deviations of normal
    patches.
    """
    of, heat = grid(pipeline, tokens), normal.heat(patches(pipeline, tokens, window[None])[0])
    return over_cells(
        heat, (of.frames, of.filters), of.front_end.real_frames(len(window)), of.front_end.bins
    )


@functools.partial(jax.jit, static_argnames="front_end")
def _energies(front_end: FrontEnd, wave):
    return energy_patches(front_end.log_energies(wave))


@functools.partial(jax.jit, static_argnames="config")
def _tokens(config: EncoderConfig, params, wave):
    # what pads the window to whole tiles is left out
    times = config.front_end.real_frames(wave.shape[1]) // PATCH
    tokens = Encoder(config).apply({"params": params}, wave)[1]["blocks"][
        (config.backbone.depth - 1) // 2
    ][:, 1:]
    return rearrange(tokens, "b (t f) d -> b t f d", f=config.backbone.mel_bins // PATCH)[:, :times]
