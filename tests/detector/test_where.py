"""Claims about the band in which a second differs."""

import numpy as np
import pytest
from machine_sound import RATE

from asd_jax.detector.where import Band, band_of, filter_edges
from asd_jax.features.front_end import FrontEnd, SimAM

EDGES = np.array([0.0, 100.0, 200.0, 400.0, 900.0, 1600.0])


@pytest.mark.parametrize(
    ("differs", "low", "high", "mean"),
    [
        ([0.0, 2.0, 4.0, 1.9, 3.0], 100.0, 400.0, 3.0),  # 1.9 is less than half the peak
        ([0.0, 0.0, 0.0, 0.0, -1.0], 900.0, 1600.0, -1.0),
        ([-3.0, -2.0, 3.1, -2.0, 0.0], 200.0, 400.0, 3.1),  # neighbours of the other sign
        ([1.0] * 5, 0.0, 1600.0, 1.0),
    ],
)
def test_the_band_is_the_peak_and_its_neighbours_of_half_of_it(differs, low, high, mean):
    usual = np.arange(5.0)
    found = band_of(usual + differs, usual, np.ones(5), EDGES)
    assert (found.low_hz, found.high_hz) == (low, high)
    assert found.decibels == pytest.approx(10 * mean / np.log(10))


def test_differences_count_in_deviations_of_normal_sounds():
    second = np.array([4.0, 0.0, 1.0, 0.0, 0.0])
    deviation = np.array([8.0, 1.0, 1.0, 1.0, 1.0])
    found = band_of(second, np.zeros(5), deviation, EDGES)
    assert (found.low_hz, found.high_hz) == (200.0, 400.0)


def test_a_band_is_said_in_kilohertz_and_decibels():
    assert str(Band(250.0, 3150.0, -6.4)) == "0.25-3.1 kHz, -6 dB against normal"
    assert str(Band(999.0, 1000.0, 3.0)) == "1.00-1.0 kHz, +3 dB against normal"


def test_the_edges_lie_between_the_filters_and_reach_from_zero_to_half_the_rate():
    front_end = FrontEnd("even", RATE, high_hz=RATE / 2, simam=SimAM("none"))
    edges = filter_edges(front_end)
    centres = front_end.filter_centres
    assert edges[0] == 0 and edges[-1] == RATE / 2 and len(edges) == len(centres) + 1
    np.testing.assert_allclose(edges[1:-1] - centres[:-1], centres[1:] - edges[1:-1])
