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
    if np.ptp(wave) < SILENT:
        return frozenset(["silence"])
    found = set()
    if np.mean(np.abs(wave) >= CLIPPED) > CLIPPED_SHARE:
        found.add("clipping")
    # The places where the value changes; between them it is constant.
    moved = np.flatnonzero(np.diff(wave, prepend=np.nan, append=np.nan))
    if np.diff(moved).max(initial=0) > DROPOUT_S * rate:
        found.add("dropout")
    return frozenset(found)


class ArrivalRate:
    """Detects a stream whose samples arrive at a rate other than the stated one.

    It reports this once, after two counts in a row that agree.
    """

    def __init__(self):
        self._since = None
        self._samples = 0
        self._before = None
        self._told = False

    def feed(self, samples: int, claimed: int, now: float) -> Event | None:
        """Returns an event about the arrival rate, or None, after `samples` arrived at `now`."""
        if self._since is None:
            self._since = now
            return None
        self._samples += samples
        if self._told or now - self._since < _RATE_AFTER_S:
            return None
        came = self._samples / (now - self._since)
        near = min(RATES, key=lambda rate: abs(rate - came))
        found = None
        if abs(came / near - 1) < _RATE_WITHIN and near != claimed:
            found = Event(
                "wrong_rate",
                f"samples come at {near} a second but are taken for {claimed} Hz: set "
                f"--rate={near}, or --channels",
            )
        elif 0.5 < came / claimed < 1 - _RATE_WITHIN:
            found = Event(
                "gap",
                f"{100 * (1 - came / claimed):.0f} % of the samples are missing: they come too "
                "slowly",
            )
        self._told = (
            found is not None and self._before is not None and found.event == self._before.event
        )
        self._since = now
        self._samples = 0
        self._before = found
        return found if self._told else None


def another_rate(rate: int, heard: int) -> Event:
    """Returns the event for sound whose rate in Hz differs from the rate that the detector uses."""
    if rate > heard:
        return Event(
            "resampled",
            f"the sound's {rate} Hz are brought to the {heard} Hz that the detector hears",
        )
    return Event(
        "wrong_rate",
        f"sound of {rate} Hz holds nothing above {rate // 2} Hz, but the detector hears {heard} "
        f"Hz: record at {heard} Hz or more, scores are not to be trusted",
    )
