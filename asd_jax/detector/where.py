"""Finds the frequency band in which a second of sound differs most from normal sounds."""

import dataclasses

import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import DECIBELS
from asd_jax.features.front_end import FrontEnd

# A neighbouring filter belongs to the band if it differs at least this much of the peak.
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Band:
    """A frequency band, and by how much its level differs from that of normal sounds.

    Attributes:
        low_hz: lower edge.
        high_hz: upper edge.
        decibels: mean difference of its level from the usual one, in dB.
    """

    low_hz: float
    high_hz: float
    decibels: float

    def __str__(self) -> str:
        return (
            f"{_kilohertz(self.low_hz)}-{_kilohertz(self.high_hz)} kHz, {self.decibels:+.0f} dB "
            "against normal"
        )


def band_of(
    second: Float[np.ndarray, "f"],
    usual: Float[np.ndarray, "f"],
    deviation: Float[np.ndarray, "f"],
    edges_hz: np.ndarray,
) -> Band:
    """Returns the band of neighbouring filters in which a second's energies differ most.

    The band holds the filter that differs most and its neighbours that differ in the same direction
    at least half as much, both in standard deviations of normal sounds.

    Args:
        second: mean log energies of the second.
        usual: mean log energies of normal sounds.
        deviation: standard deviation of the log energies of normal sounds.
        edges_hz: the f + 1 edges of the filters' bands.
    """
    difference = (second - usual) / deviation
    # Differences are in deviations, not in dB, because some filters vary a lot among normal sounds.
    peak = int(np.abs(difference).argmax())
    in_band = difference * np.sign(difference[peak]) >= _SHARE * abs(difference[peak])
    # The band reaches to the nearest filters on either side that are not in it.
    outside = np.flatnonzero(~in_band)
    first = int(outside[outside < peak].max(initial=-1)) + 1
    last = int(outside[outside > peak].min(initial=len(difference)))
    decibels = float(DECIBELS * (second - usual)[first:last].mean())
    return Band(float(edges_hz[first]), float(edges_hz[last]), decibels)


def filter_edges(front_end: FrontEnd) -> np.ndarray:
    """Returns the edges in Hz between the filters of a front end, with 0 Hz and half the rate."""
    centres = front_end.filter_centres
    return np.concatenate([[0.0], (centres[:-1] + centres[1:]) / 2, [front_end.sample_rate / 2]])


def _kilohertz(hz: float) -> str:
    """Returns a frequency in kHz, with more digits for a low one."""
    return f"{hz / 1000:.1f}" if hz >= 1000 else f"{hz / 1000:.2f}"
