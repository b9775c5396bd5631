import xml.etree.ElementTree as ET

import numpy as np
import pytest
from reporting.drawn import PLOTS, drawn
from reporting.looks import golden_looks, looks

from asd_jax.features.filter_bank import DECIBELS
from asd_jax.reporting.spectrograms import decibel_range, spectrograms


def test_a_spectrogram_is_small_enough_for_many_on_a_page():
    assert len(PLOTS["spectrograms"][0]()) < 90_000  # noise, the worst case: 67,900


@pytest.mark.parametrize("name", ["spectrograms", "spectrogram of what is odd"])
def test_a_spectrogram_looks_as_it_did_when_it_was_last_looked_at(name):
    assert list(looks(drawn(name)[1])) == golden_looks()[name]


def test_the_colours_span_what_is_usual_in_decibels():
    energies = np.linspace(0, 10, 1001)
    energies[-1] = 1e6  # an outlier
    low, high = decibel_range(energies)
    assert low == pytest.approx(0.1 * DECIBELS) and high == pytest.approx(9.95 * DECIBELS)
    assert DECIBELS == pytest.approx(10 / np.log(10))


@pytest.mark.parametrize(("heat", "top"), [(0.0, "1.0"), (7.0, "7.0")])
def test_each_panel_that_is_given_says_what_its_colours_mean(heat, top):
    flat = np.zeros((40, 16))
    hz = np.linspace(20, 8000, 16)
    settings = {"decibels": (-40.0, -10.0)}
    bare = spectrograms(flat, None, hz, **settings)
    assert "SimAM" not in bare and "oddness" not in bare and bare.count("<image") == 1
    whole = spectrograms(flat, flat + 0.8, hz, heat=flat + heat, **settings)
    assert whole.count("<image") == 3
    assert f"oddness: dark 0, bright {top} or more standard deviations" in whole


def test_labels_of_frequencies_do_not_overlap():
    """14 filters leave room for a label at more than one filter's distance from the one below."""
    hz = np.arange(14) * 1000.0
    svg = spectrograms(np.zeros((40, 14)), None, hz, decibels=(0.0, 1.0))
    words = [of.text for of in ET.fromstring(svg).iter() if of.tag.endswith("text")]
    assert words[words.index("time (s)") + 1 : words.index("kHz")] == ["0.25", "4", "6", "8"]


def test_the_deviations_of_a_normal_clip_stay_dark():
    """Colours reach at least one standard deviation, and the oddest cells do not dim the others."""
    flat = np.zeros((40, 16))
    heat = np.linspace(0, 5, 640).reshape(40, 16)
    svg = spectrograms(flat, None, np.linspace(20, 8000, 16), decibels=(0.0, 1.0), heat=heat)
    assert "bright 4.9 or more" in svg
