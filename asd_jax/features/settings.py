"""Defines settings of the front end, separate from the code that needs JAX."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import CheckedSettings, key

SPACINGS = ("even", "mel", "gammatone")
# Kaldi's defaults, as EAT uses them; Kaldi's upper edge is half the sample rate.
FRAME_MS = 25
HOP_MS = 10
LOW_HZ = 20.0
# of log mel energies over AudioSet (EAT repository)
AUDIOSET_MEAN = -4.268
AUDIOSET_STD = 4.569
LOCAL_TILE = (32, 32)  # frames x filters (arXiv 2508.15334)
LAMBDA = 1e-4  # e_lambda of the public SimAM code


@dataclasses.dataclass(frozen=True)
class FilterBank(CheckedSettings):
    """The filter bank and its normalisation, (x - mean) / (2 std)."""

    spacing: str = key(
        "even",
        "spacing of the filters: even (m-FB, the paper's); mel (o-FB, with which EAT was "
        "pre-trained); gammatone (g-FB); or package.module:function",
        choices=SPACINGS,
        function=True,
    )
    bins: int = key(128, "number of filters", least=1, most=512)
    low_hz: float = key(LOW_HZ, "lower edge of the filter bank, in Hz", least=0, most=48_000)
    high_hz: float = key(8000.0, "upper edge of the filter bank, in Hz", above=0, most=48_000)
    mean: float = key(
        AUDIOSET_MEAN,
        "mean of the log energies, subtracted from them; that of AudioSet",
        least=-1000,
        most=1000,
    )
    std: float = key(
        AUDIOSET_STD,
        "standard deviation of the log energies; they are divided by twice this; that of AudioSet",
        above=0,
        most=1000,
    )


@dataclasses.dataclass(frozen=True)
class Features(FilterBank):
    """The front end of training and scoring."""

    statistics: str = key(
        "given",
        "where mean and std come from: given: the two keys; train: measured on the training "
        "clips; weights: the file of model.weights, if it was pre-trained here",
        choices=("given", "train", "weights"),
    )
    simam: Any = key(
        "local",
        'region of SimAM: none, global, local (tiles), or one for each machine: "{ToyCar: '
        'local, fan: global}"',
        mapping=True,
    )
    simam_lambda: float = key(
        LAMBDA,
        "what SimAM adds to the variance, so that constant maps give finite weights; the "
        "value of the public code",
        above=0,
        most=1e9,
    )
    simam_tile_frames: int = key(
        LOCAL_TILE[0], "frames of a tile of local SimAM, a divisor of 32", least=1, most=32
    )
    simam_tile_filters: int = key(
        LOCAL_TILE[1], "filters of a tile of local SimAM, a divisor of bins", least=1, most=512
    )
    simam_before_normalization: bool = key(
        False, "whether SimAM weights the log energies instead of the normalised spectrogram"
    )
    simam_ignores_padding: bool = key(
        False, "whether SimAM takes its statistics from real frames only, not from padding"
    )

    @property
    def simam_modes(self) -> str | dict[str, str]:
        """One mode for all machines, or {machine: mode}.

        Raises:
            InputError: the text begins like a mapping but is not one.
        """
        if isinstance(self.simam, Mapping):
            return dict(self.simam)
        return modes_by_machine(self.simam) if self.simam.startswith("{") else self.simam


@dataclasses.dataclass(frozen=True)
class PretrainingFeatures(FilterBank):
    """The front end of pre-training, which has no SimAM."""

    statistics: str = key(
        "given",
        "where mean and std come from: given: the two keys; train: measured on the first batches",
        choices=("given", "train"),
    )


def modes_by_machine(text: str) -> dict[str, str]:
    """Returns {machine: mode} of a text from the command line, "{machine: mode, ...}".

    Example:
        modes_by_machine("{ToyCar: local, fan: global}")  # {"ToyCar": "local", "fan": "global"}

    Raises:
        InputError: the text contains no pair.
    """
    pairs = re.findall(r"""["']?([^\s"':,{}]+)["']?\s*:\s*["']?([^\s"':,{}]+)["']?""", text)
    if not pairs:
        raise InputError(f'simam={text!r}; write a mapping as "{{ToyCar: local, fan: global}}"')
    return dict(pairs)
