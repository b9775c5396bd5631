import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.simulated_session import (
    COLOUR_DB,
    GAIN_DB,
    coloured,
    simulated_session,
    smooth_colours,
)

# Of the sessions 0 and 3 of a sound: thresholds of detectors rest on them.
GOLDEN = {
    0: [0.04126336798071861, -0.027351750060915947, -0.06598972529172897],
    3: [0.040292657911777496, 0.03721985965967178, 0.02298426441848278],
}


def test_a_simulated_session_is_the_same_for_the_same_sound_in_every_version():
    wave = sound(1)
    session = simulated_session(wave, RATE)
    assert np.array_equal(session, simulated_session(wave.copy(), RATE, 0))
    assert len(session) == 32000 and session.dtype == np.float32
    assert not np.allclose(session, simulated_session(sound(2), RATE), atol=1e-3)
    for number, expected in GOLDEN.items():
        found = simulated_session(wave, RATE, number)[[100, 20_000, -1]]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_another_speed_is_at_most_one_percent_and_a_fast_clip_is_reflected_at_its_end(monkeypatch):
    for name in ("GAIN_DB", "TILT_DB", "RIPPLE_DB"):
        monkeypatch.setattr(f"asd_jax.data.simulated_session.{name}", 0.0)
    ramp = np.arange(512, dtype=np.float32)  # so that a sample tells its place
    changes = []
    for number in range(200):
        found = simulated_session(ramp, RATE, number).astype(float)
        change = (found[400] - found[100]) / 300 - 1
        place = np.arange(512) * (1 + change)
        expected = np.where(place > 511, 2 * 511 - place, place)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)  # measured 8e-4: float32
        changes.append(change)
    assert 0.0098 < max(changes) < 0.01001 and -0.01001 < min(changes) < -0.0098


def test_levels_tilts_and_ripples_of_many_sessions_are_as_large_as_was_chosen(monkeypatch):
    monkeypatch.setattr("asd_jax.data.simulated_session.SPEED", 0.0)
    wave = np.random.default_rng(0).normal(0, 0.1, 2048).astype(np.float32)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(2048, 1 / RATE), 60) / 1000)
    turns = 2 * np.pi * np.outer(octaves, (0.3, 0.7, 1.3))
    shapes = np.column_stack([np.ones(1025), octaves, np.cos(turns), np.sin(turns)])
    spectrum = np.fft.rfft(wave)
    sessions = [np.fft.rfft(simulated_session(wave, RATE, number)) for number in range(200)]
    decibels = np.stack([20 * np.log10(np.abs(session / spectrum)) for session in sessions], 1)
    gain, tilt, *waves = np.linalg.lstsq(shapes, decibels)[0]
    ripples = np.hypot(waves[:3], waves[3:])
    assert gain.std() == pytest.approx(1.5, abs=0.15)  # of 200: 5 % is its own deviation
    for found in (np.abs(tilt), *ripples):
        assert 0.48 < found.max() < 0.5005


def test_a_colour_is_a_gain_at_each_frequency():
    wave = np.random.default_rng(0).normal(size=1001).astype(np.float32)
    np.testing.assert_allclose(coloured(wave, np.full(501, 20.0)), 10 * wave, rtol=0, atol=1e-5)
    silent = np.where(np.arange(501) == 0, 0.0, -400.0)
    np.testing.assert_allclose(coloured(wave, silent), np.full(1001, wave.mean()), atol=1e-6)


def test_the_colours_of_a_session_are_a_level_and_half_cosines_over_the_audible_octaves():
    middle = np.sqrt(60 * 8000)
    found = smooth_colours(np.array([0.0, 30.0, 60.0, middle, 8000.0]))
    half = np.cos(np.pi * np.arange(4) / 2)
    expected = np.stack([np.ones(4)] * 3 + [half, [1, -1, 1, -1]], 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    # At most three deviations of the level, and 3 dB of each half cosine.
    assert COLOUR_DB == (3 * GAIN_DB, 3.0, 3.0, 3.0)


def test_the_colour_of_a_session_is_a_gain_a_tilt_and_three_ripples_over_octaves(monkeypatch):
    monkeypatch.setattr("asd_jax.data.simulated_session.SPEED", 0.0)
    wave = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    turns = 2 * np.pi * np.outer(octaves, (0.3, 0.7, 1.3))
    shapes = np.column_stack([np.ones(len(hz)), octaves, np.cos(turns), np.sin(turns)])
    for number in range(4):
        heard = simulated_session(wave, RATE, number)
        decibels = 20 * np.log10(np.abs(np.fft.rfft(heard) / np.fft.rfft(wave)))
        found, *_ = np.linalg.lstsq(shapes, decibels)
        assert np.abs(shapes @ found - decibels).max() < 4e-5  # float32; measured 1.9e-5
        amplitudes = np.hypot(found[2:5], found[5:])
        assert abs(found[1]) <= 0.5 and 0.01 < amplitudes.min() <= amplitudes.max() <= 0.5
