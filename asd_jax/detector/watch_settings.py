"""The settings of a watch: windows, alarms and status lines."""

import dataclasses

import numpy as np
from jaxtyping import Float

from asd_jax.runtime.errors import InputError


def release_score(normal: Float[np.ndarray, "n"], threshold: float, hysteresis: float) -> float:
    """Returns the score at or below which an alarm may end.

    Args:
        normal: scores of the normal sounds.
        threshold: score above which a window is anomalous.
        hysteresis: how far the score lies on the way from the threshold to the usual score: 0 is
            the threshold, 1 the median of the normal sounds.
    """
    return threshold - hysteresis * (threshold - float(np.median(normal)))


@dataclasses.dataclass(frozen=True)
class WatchSettings:
    """Settings of a watch.

    Attributes:
        rate: sampling rate of the windows, in Hz.
        window_seconds: length of a window.
        hop_seconds: time between the starts of two windows, at most the length of a window.
        threshold: score above which a window is anomalous.
        release: score at or below which an alarm may end.
        confirm: number of consecutive windows above the threshold that start an alarm.
        hold_seconds: time at or below `release` that ends an alarm.
        status_seconds: seconds of sound between two status lines.
        of: among how many windows `confirm` are counted; 0: as many, so they are consecutive.
        on_delay_seconds: time above the threshold before an alarm starts.
    """

    rate: int
    window_seconds: float
    hop_seconds: float
    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    status_seconds: float = 3600.0
    of: int = 0
    on_delay_seconds: float = 0.0

    def __post_init__(self):
        if not 0 < self.hop_seconds <= self.window_seconds:
            raise InputError(
                f"a hop of {self.hop_seconds:g} s: must be above 0 and at most the window, "
                f"{self.window_seconds:g} s"
            )
        # These conditions are written so that NaN fails every comparison.
        if not (self.of == 0 or self.of >= self.confirm) or not self.on_delay_seconds >= 0:
            raise InputError(
                f"--of={self.of} must be at least --confirm={self.confirm}, or 0; "
                "--on_delay_seconds at least 0"
            )
        in_range = self.confirm >= 1 and self.hold_seconds >= 0 and self.status_seconds > 0
        if not (in_range and self.release <= self.threshold):
            raise InputError(
                "--confirm must be at least 1, --hold_seconds and --hysteresis at least 0, "
                "--status_seconds above 0"
            )

    @property
    def latency_seconds(self) -> float:
        """Returns the longest time from the start of a lasting fault to its alarm, in seconds.

        Computing time is not included. The first window that lies wholly inside the fault begins
        within a hop of its start, and `confirm` such windows are needed.
        """
        # The window that is the last to be counted may be the one that ends the delay.
        delay = max(self.on_delay_seconds - self.confirm * self.hop_seconds, 0)
        return self.window_seconds + self.confirm * self.hop_seconds + delay

    @property
    def samples(self) -> tuple[int, int]:
        """Returns the length of a window and of a hop, in samples."""
        # A hop of no sample would never come to an end.
        return round(self.window_seconds * self.rate), max(1, round(self.hop_seconds * self.rate))

    def start_line(self, false_alarm_rate: float) -> dict:
        """Returns the first line: the settings, for a detector with this false-alarm rate."""
        return {
            "event": "start",
            "rate": self.rate,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "threshold": round(self.threshold, 4),
            "release": round(self.release, 4),
            "alarm_latency_seconds": round(self.latency_seconds, 3),
            "false_alarm_rate": false_alarm_rate,
            "windows_above_threshold_a_day_when_well": round(
                false_alarm_rate * 86400 / self.hop_seconds, 1
            ),
        }
