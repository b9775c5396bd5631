"""Claims about sound levels; the limits are those of IEC 61260-1:2014, table 1, class 1."""

import numpy as np
import pytest

from asd_jax.monitoring.levels import band_gains, sound_levels, third_octaves

RATE = 16000
G = 10**0.3
# Exponent of G for an octave band: least and most attenuation in dB relative to that at mid-band.
LIMITS = [
    (0, -0.4, 0.4),
    (1 / 8, -0.4, 0.5),
    (1 / 4, -0.4, 0.7),
    (3 / 8, -0.4, 1.4),
    (1 / 2, 1.6, 5.3),
    (1, 16.6, np.inf),
    (2, 40.5, np.inf),
    (3, 60, np.inf),
    (4, 70, np.inf),
]


@pytest.mark.parametrize(("exponent", "least", "most"), LIMITS)
@pytest.mark.parametrize("side", [1, -1])
def test_the_filters_meet_class_1(exponent, least, most, side):
    # The frequency of a one-third-octave band that corresponds to that of an octave band.
    ratio = 1 + (G ** (1 / 6) - 1) / (G ** (1 / 2) - 1) * (G**exponent - 1)
    gain = band_gains(np.array([1000 * ratio**side]), np.array([1000.0]))
    assert least <= -10 * np.log10(gain[0, 0]) <= most


def test_a_sine_at_full_scale_has_minus_3_db_in_its_own_band_alone():
    centres = third_octaves(RATE)
    wave = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    overall, bands = sound_levels(wave, RATE)
    assert overall == pytest.approx(-3.01, abs=0.01)
    assert bands.max() == pytest.approx(-3.01, abs=0.01)
    assert centres[bands.argmax()] == pytest.approx(1000)
    others = np.delete(bands, bands.argmax())
    assert others.max() < -3 - 16.6


def test_the_bands_of_white_noise_rise_by_3_db_an_octave_and_add_up_to_its_level():
    wave = np.random.default_rng(0).normal(0, 0.1, 30 * RATE)
    overall, bands = sound_levels(wave, RATE)
    slope = np.polyfit(np.arange(len(bands)), bands, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.02)  # 3 dB in three bands; measured 0.003 off
    assert overall == pytest.approx(-20, abs=0.1)
    # The lowest band begins at 22 Hz and the highest ends at 7079 of 8000 Hz.
    assert 10 * np.log10((10 ** (bands / 10)).sum()) == pytest.approx(
        overall + 10 * np.log10(7079 / 8000), abs=0.2
    )


def test_silence_and_a_constant_have_a_finite_level():
    for wave in (np.zeros(RATE), np.full(RATE, 0.5)):
        overall, bands = sound_levels(wave, RATE)
        assert overall == -200 and (bands == -200).all()


@pytest.mark.parametrize("samples", [1000, 1001])
def test_the_overall_level_is_that_of_the_mean_square_at_any_length(samples):
    wave = np.random.default_rng(0).normal(0.3, 0.1, samples)
    overall, _ = sound_levels(wave, RATE)
    assert overall == pytest.approx(10 * np.log10(wave.var()), abs=1e-9)


def test_the_filters_are_of_third_order():
    """Far from its band, a filter of order n falls by 6 n dB an octave."""
    low, high = -10 * np.log10(band_gains(np.array([1.0, 2.0]), np.array([1000.0]))[0])
    assert low - high == pytest.approx(18.06, abs=0.01)
