"""Detects defects of live sound: clipping, silence, dropouts and a wrong sampling rate."""

import numpy as np
from jaxtyping import Float

from asd_jax.detector.stream import Event

# level relative to full scale, and share of the samples
CLIPPED = 0.999
CLIPPED_SHARE = 1e-3
SILENT = 1e-4  # peak-to-peak value, -80 dB; no microphone is this quiet
DROPOUT_S = 0.25  # seconds of a constant value inside a window with sound
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)
# Seconds for which arrivals are counted, and relative tolerance for a match with a common rate.
_RATE_AFTER_S = 20.0
_RATE_WITHIN = 0.03

MESSAGES = {
    "clipping": "the sound is clipped: turn the input level down, scores are not to be trusted",
    "dropout": "stretches of one and the same value inside the sound: samples are being lost",
    "silence": "no sound at all: is the microphone connected?",
}


def defects(wave: Float[np.ndarray, "s"], rate: int) -> frozenset[str]:
    """Returns the defects of a window: clipping, silence, dropout."""
    # Silence is checked first, because it is also one long dropout.
    if np.ptp(wave) < SILENT:
        return frozenset(["silence"])
    names = set()
    # A single peak at full scale may be genuine.
    if np.mean(np.abs(wave) >= CLIPPED) > CLIPPED_SHARE:
        names.add("clipping")
    # The samples at which the value changes; between them it is constant.
    changes = np.flatnonzero(np.diff(wave, prepend=np.nan, append=np.nan))
    if np.diff(changes).max() > DROPOUT_S * rate:
        names.add("dropout")
    return frozenset(names)


class ArrivalRate:
    """Detects a stream whose samples arrive at a rate other than the stated one.

    It reports this once, after two counts in a row that agree.
    """

    def __init__(self):
        self._since = None
        self._samples = 0
        self._previous = None
        self._reported = False

    def feed(self, samples: int, claimed: int, now: float) -> Event | None:
        """Returns an event about the arrival rate, or None, after `samples` arrived at `now`."""
        if self._since is None:
            self._since = now
            return None
        # The first block only starts the count: it may have waited in a pipe for long.
        self._samples += samples
        if self._reported or now - self._since < _RATE_AFTER_S:
            return None
        arrival_rate = self._samples / (now - self._since)
        nearest = min(RATES, key=lambda rate: abs(rate - arrival_rate))
        event = None
        if abs(arrival_rate / nearest - 1) < _RATE_WITHIN and nearest != claimed:
            event = Event(
                "wrong_rate",
                f"samples come at {nearest} a second but are taken for {claimed} Hz: set "
                f"--rate={nearest}, or --channels",
            )
        elif 0.5 < arrival_rate / claimed < 1 - _RATE_WITHIN:
            event = Event(
                "gap",
                f"{100 * (1 - arrival_rate / claimed):.0f} % of the samples are missing: they come "
                "too slowly",
            )
        # A busy machine disturbs a single count, so two in a row must agree.
        self._reported = (
            event is not None and self._previous is not None and event.event == self._previous.event
        )
        self._since = now
        self._samples = 0
        self._previous = event
        return event if self._reported else None


def another_rate(rate: int, detector_rate: int) -> Event:
    """Returns the event for sound whose rate in Hz differs from the rate that the detector uses."""
    if rate > detector_rate:
        return Event(
            "resampled",
            f"the sound is resampled from {rate} Hz to the detector's {detector_rate} Hz",
        )
    return Event(
        "wrong_rate",
        f"sound of {rate} Hz holds nothing above {rate // 2} Hz, but the detector works at "
        f"{detector_rate} Hz: record at {detector_rate} Hz or more, scores are not to be trusted",
    )
