"""Defines the front end: waveform -> filter bank -> normalised, padded spectrogram -> SimAM.

All its settings are in one dataclass.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from msgspec import Meta

from asd_jax.features.filter_bank import FRAME_MS, HOP_MS, filter_bank, log_filter_bank, normalize
from asd_jax.features.settings import Features
from asd_jax.features.simam import LOCAL_TILE, MODES, Length, simam, simam_by_clip
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked
from asd_jax.runtime.settings import check_settings, key, like

# The matrix of the frame processing grows with the square of the rate: 0.6 GB at 96 kHz.
FASTEST_HZ = 96_000
FRAME_MULTIPLE = 32  # the height of SimAM's tiles, and two EAT patches
_Mode = str | Mapping[str, str] | tuple[tuple[str, str], ...]
_Side = Annotated[int, Meta(ge=1, le=512)]


@dataclasses.dataclass(frozen=True)
class SimAM:
    """Settings of SimAM.

    Attributes:
        mode: "none", "global", "local", or a mode per machine ("customized"): a mapping, kept as
            pairs.
        e_lambda: added to the variance, so that constant maps are safe.
        before_normalization: apply SimAM to the log energies instead of the normalised spectrogram.
            SimAM's weight is symmetric around a map's mean, but the product is around 0, so the two
            differ.
        ignores_padding: take the statistics from real frames only.
        tile: frames x filters of the tiles of "local".
    """

    mode: _Mode = Features.simam
    e_lambda: float = like(Features, "simam_lambda")
    before_normalization: bool = like(Features, "simam_before_normalization")
    ignores_padding: bool = like(Features, "simam_ignores_padding")
    tile: tuple[int, int] = LOCAL_TILE

    def __post_init__(self):
        check_settings(self)
        build_checked(tuple[_Mode, tuple[_Side, _Side]], (self.mode, self.tile))
        # Pairs are hashable, and they are what JSON gives back.
        if not isinstance(self.mode, str):
            object.__setattr__(self, "mode", tuple(sorted(self.by_machine.items())))
        if unknown := self.modes - set(MODES):
            raise InputError(
                f"simam: unknown mode {', '.join(sorted(unknown))}; known: {', '.join(MODES)}"
            )

    @property
    def by_machine(self) -> dict[str, str]:
        """{machine: mode}; {} if all machines have the same mode."""
        if isinstance(self.mode, str):
            return {}
        pairs = self.mode.items() if isinstance(self.mode, Mapping) else self.mode
        return dict(pairs)

    @property
    def modes(self) -> set[str]:
        """The set of all modes that occur."""
        return {self.mode} if isinstance(self.mode, str) else set(self.by_machine.values())

    def mode_of(self, machine: str) -> int:
        """Returns the index into MODES of the mode for this machine's clips.

        Raises:
            InputError: the mapping lacks this machine.
        """
        if isinstance(self.mode, str):
            return MODES.index(self.mode)
        if machine not in (modes := self.by_machine):
            raise InputError(
                f"simam names no mode for machine {machine}; it has {', '.join(modes)}"
            )
        return MODES.index(modes[machine])


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """Settings of the front end, which every weight file of an encoder contains."""

    spacing: str = like(Features, "spacing")
    sample_rate: int = key(16000, "in Hz", least=1000, most=FASTEST_HZ)
    bins: int = like(Features, "bins")
    low_hz: float = like(Features, "low_hz")
    high_hz: float = like(Features, "high_hz")
    mean: float = like(Features, "mean")
    std: float = like(Features, "std")
    simam: SimAM = SimAM()
    frames: int = key(
        0,
        "padded length of the clips that the weights were trained on, 0 if any",
        least=0,
        most=1_000_000,
    )

    def __post_init__(self):
        check_settings(self)
        modes = self.simam.modes
        frames, filters = self.simam.tile
        if "local" in modes and self.bins % filters:
            raise InputError(
                f"bins={self.bins} must be a multiple of {filters} with local SimAM "
                "(simam_tile_filters)"
            )
        if "local" in modes and FRAME_MULTIPLE % frames:
            raise InputError(
                f"simam: a tile of {frames} frames must divide {FRAME_MULTIPLE}, as clips are "
                "padded"
            )
        # Filters above half the sample rate would be empty.
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise InputError(
                f"low_hz={self.low_hz}, high_hz={self.high_hz}: no filter bank from {self.low_hz} "
                f"to {self.high_hz} Hz at {self.sample_rate} Hz"
            )

    def real_frames(self, samples: Length) -> Length:
        """Returns the number of frames of a clip before padding."""
        return 1 + (samples - self.sample_rate * FRAME_MS // 1000) // (
            self.sample_rate * HOP_MS // 1000
        )

    def samples(self, frames: int) -> int:
        """Returns the smallest number of samples that gives the given number of frames."""
        window = self.sample_rate * FRAME_MS // 1000
        hop = self.sample_rate * HOP_MS // 1000
        return window + (frames - 1) * hop

    @property
    def filters(self) -> Float[np.ndarray, "f k"]:
        """Returns the weights of the filters on the DFT bins of the power spectrum."""
        return filter_bank(self.spacing, self.sample_rate, self.bins, self.low_hz, self.high_hz)

    @property
    def filter_centres(self) -> Float[np.ndarray, "f"]:
        """Returns the centre of mass of each filter in Hz, "f", in non-decreasing order.

        An empty filter takes the value of its lower neighbour.
        """
        filters = self.filters
        hz = np.linspace(0, self.sample_rate / 2, filters.shape[1])
        # A narrow filter may hold no DFT bin; it then takes the centre of the one below.
        weight = filters.sum(1)
        return np.maximum.accumulate(
            np.where(weight > 0, filters @ hz / np.where(weight > 0, weight, 1), 0.0)
        )

    def log_energies(self, wave: Float[ArrayLike, "b s"]) -> Float[Array, "b t f"]:
        """Returns the filter bank's natural-log energies "b t f" of waveforms "b s".

        They are neither normalised nor padded.
        """
        return log_filter_bank(
            jnp.asarray(wave),
            spacing=self.spacing,
            sample_rate=self.sample_rate,
            bins=self.bins,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
        )

    def spectrogram(
        self, wave: Float[Array, "b s"], simam_mode: Int[Array, "b"] | None = None
    ) -> Float[Array, "b t f"]:
        """Returns the normalised spectrogram "b t f" of waveforms "b s", padded to a multiple of 32
        frames.

        SimAM is not applied yet, unless it comes before the normalisation. Zeros are appended
        before the normalisation, as in EAT, so padding becomes (0 - mean) / (2 std).
        """
        x = self.log_energies(wave)
        # In this form an export can prove that 32 divides the length, even if t is a symbol.
        whole = -(-x.shape[1] // FRAME_MULTIPLE) * FRAME_MULTIPLE
        x = jnp.pad(x, ((0, 0), (0, whole - x.shape[1]), (0, 0)))
        if self.simam.before_normalization:
            x = self._attended(x, simam_mode, wave.shape[1])
        return normalize(x, self.mean, self.std)

    def attend(
        self,
        spectrogram: Float[Array, "b t f"],
        simam_mode: Int[Array, "b"] | None,
        samples: Length,
    ) -> Float[Array, "b t f"]:
        """Returns the spectrogram after SimAM, unchanged if SimAM came before the normalisation."""
        return (
            spectrogram
            if self.simam.before_normalization
            else self._attended(spectrogram, simam_mode, samples)
        )

    def _attended(self, x, mode, samples):
        settings = {
            "e_lambda": self.simam.e_lambda,
            "valid_frames": self.real_frames(samples) if self.simam.ignores_padding else None,
        }
        if self.simam.mode == "none":
            return x
        if isinstance(self.simam.mode, str):
            return simam(
                x, tile=self.simam.tile if self.simam.mode == "local" else None, **settings
            )
        if mode is None:
            raise ValueError("simam is a mapping: give the SimAM mode of each clip (SimAM.mode_of)")
        return simam_by_clip(x, mode, tile=self.simam.tile, **settings)
