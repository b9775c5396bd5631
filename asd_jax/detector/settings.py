"""Settings that are chosen when a detector is fitted, and their limits."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asd_jax.data.decode import FASTEST_HZ, SLOWEST_HZ
from asd_jax.detector.notes import Kind, Note
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import check_settings, key
from asd_jax.scoring.conformal import RAREST

# Encoders are trained on 10 s, and EAT needs 16 frames.
LONGEST_WINDOW_S = 10.0
SHORTEST_WINDOW_S = 0.2
# Share of a window below which a sound counts as short. Short sounds are repeated to fill the
# window, but their scores scatter more than those of normal windows.
SHORT = 0.9
MOST_REPEATED = 10  # how often the longest recording may be repeated to fill a window


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings chosen when a detector is fitted."""

    sample_rate: int = key(
        16000, "of the waveforms given to it, in Hz", least=SLOWEST_HZ, most=FASTEST_HZ
    )
    window_seconds: float = key(
        LONGEST_WINDOW_S,
        "length of a window; the score of a longer sound is the mean over its windows",
        least=SHORTEST_WINDOW_S,
        most=60,
    )
    false_alarm_rate: float = key(
        0.05, "share of normal windows above the threshold", least=RAREST, most=1 - RAREST
    )
    tokens: bool = key(
        False, "whether `explain` compares the encoder's tokens, not patches of the filter bank"
    )

    def __post_init__(self):
        check_settings(self)

    def short(self, samples: int) -> tuple[Note, ...]:
        """Returns a note if this many samples are much shorter than the window."""
        # Recorders stop a little early, which changes nothing.
        if samples >= SHORT * self.window_seconds * self.sample_rate:
            return ()
        return (
            Note(
                Kind.SHORT,
                f"less than the window of {self.window_seconds:g} s, the score is not comparable",
            ),
        )


def check_window(window_seconds: float, seconds: Sequence[float]) -> None:
    """Raises InputError if a window is over ten times as long as the longest recording.

    Args:
        window_seconds: length of the window.
        seconds: lengths of the recordings.
    """
    if len(seconds) and MOST_REPEATED * (longest := max(seconds)) < window_seconds:
        raise InputError(
            f"windows of {window_seconds:g} s, but the longest of {len(seconds)} recordings lasts "
            f"{longest:.4g} s: give at most that (window_seconds)"
        )


def usual_window(seconds: Sequence[float]) -> float:
    """Returns the default window: the median length of recordings, from 0.2 to 10 s."""
    if not len(seconds):
        raise InputError("no normal recordings to learn from")
    # The median is used, because one long recording among short ones must not decide.
    return float(np.clip(np.median(seconds), SHORTEST_WINDOW_S, LONGEST_WINDOW_S))
