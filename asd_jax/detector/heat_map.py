"""Computes where in time and frequency a sound is anomalous, by comparing patches."""

import dataclasses
import functools

import jax
import numpy as np
from einops import rearrange
from jaxtyping import Float

from asd_jax.detector.notebook import heat_map_html
from asd_jax.detector.views import in_batches, rate_of
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import PATCH
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.patch_bank import FILTERS, FRAMES, PatchBank, energy_patches, over_cells
from asd_jax.training.weights import Pipeline


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Where in time and frequency a sound is anomalous.

    Attributes:
        values: deviation of each cell, in standard deviations of normal patches; frames of 10 ms of
            the worst window by filters of `front_end`.
        start: start of the window, in seconds.
        window: samples of the window, at the front end's rate.
        front_end: the front end that defines the frames and filters.
        nearest: name of the normal recording that is nearest to the window.
        nearest_start: start of the nearest normal window in that recording, in seconds.
    """

    values: Float[np.ndarray, "t f"]
    start: float
    window: Float[np.ndarray, "s"]
    front_end: FrontEnd
    nearest: str
    nearest_start: float

    def _repr_html_(self) -> str:
        """Returns the spectrogram of the window above the heat map, as notebooks show it."""
        return heat_map_html(self)

    def __repr__(self) -> str:
        frame, number = np.unravel_index(self.values.argmax(), self.values.shape)
        return (
            f"HeatMap(highest {self.values.max():.1f} standard deviations, at "
            f"{self.start + frame / 100:.2f} s and {self.front_end.filter_centres[number]:.0f} Hz; "
            f"nearest normal {self.nearest!r} at {self.nearest_start:.2f} s)"
        )


@dataclasses.dataclass(frozen=True)
class Grid:
    """How patches lie on the frames and filters of a front end.

    A patch covers `frames` frames and `filters` filters, and is a vector of `width` numbers.
    """

    front_end: FrontEnd
    frames: int
    filters: int
    width: int


def grid(pipeline: Pipeline | None, tokens: bool) -> Grid:
    """Returns the grid of the encoder's tokens if `tokens`, else that of evenly spaced filters.

    Patches of filters localise anomalies better (benchmarks/heat_map.py).

    Raises:
        InputError: tokens are requested, but the encoder has none.
    """
    if not tokens:
        rate = rate_of(pipeline)
        return Grid(
            FrontEnd("even", rate, high_hz=rate / 2, simam=SimAM("none")), FRAMES, FILTERS, FILTERS
        )
    if pipeline is None or pipeline.config.eat is None:
        raise InputError("a heat map of tokens needs an encoder that has them, an EAT")
    # A token stands for a square patch of the spectrogram.
    return Grid(pipeline.config.front_end, PATCH, PATCH, pipeline.config.eat.embed_dim)


def patches(
    pipeline: Pipeline | None, tokens: bool, windows: Float[np.ndarray, "b s"]
) -> Float[np.ndarray, "b t f e"]:
    """Returns the patches "b t f e" of windows "b s", in float32.

    They are log energies, or the tokens of the middle block of EAT.
    """
    function = functools.partial(_energies, grid(pipeline, tokens).front_end)
    if tokens and pipeline is not None:
        function = functools.partial(_tokens, pipeline.config, pipeline.params)
    return in_batches(function, windows)[0]


def anomalous_cells(
    pipeline: Pipeline | None, tokens: bool, normal: PatchBank, window: Float[np.ndarray, "s"]
) -> Float[np.ndarray, "t f"]:
    """Returns how anomalous each frame and filter of a window is, "t f".

    The values are in standard deviations of normal patches.
    """
    cells = grid(pipeline, tokens)
    # Patches are coarser than cells, so each cell takes its value from those that cover it.
    heat = normal.heat(patches(pipeline, tokens, window[None])[0])
    frames = cells.front_end.real_frames(len(window))
    return over_cells(heat, (cells.frames, cells.filters), frames, cells.front_end.bins)


@functools.partial(jax.jit, static_argnames="front_end")
def _energies(front_end: FrontEnd, wave):
    """Returns patches "b t f e" of log energies."""
    return energy_patches(front_end.log_energies(wave))


@functools.partial(jax.jit, static_argnames="config")
def _tokens(config: EncoderConfig, params, wave):
    """Returns the tokens of the middle block of EAT as patches "b t f e"."""
    # Tokens of the padding to whole tiles are dropped.
    times = config.front_end.real_frames(wave.shape[1]) // PATCH
    # The first token, which is left out, is that of the class and has no place.
    tokens = Encoder(config).apply({"params": params}, wave)[1]["blocks"][
        (config.backbone.depth - 1) // 2
    ][:, 1:]
    return rearrange(tokens, "b (t f) d -> b t f d", f=config.backbone.mel_bins // PATCH)[:, :times]
