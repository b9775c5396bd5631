import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.simulated_session import RIPPLE_DB, RIPPLES, TILT_DB, simulated_session


def test_a_simulated_session_is_the_same_for_the_same_sound():
    wave = sound(1)
    assert np.array_equal(simulated_session(wave, RATE), simulated_session(wave.copy(), RATE))
    assert not np.allclose(simulated_session(wave, RATE), simulated_session(sound(2), RATE))
    assert (
        simulated_session(wave, RATE) == pytest.approx(simulated_session(wave, RATE))
        and len(wave) == 32000
    )


def test_the_colour_of_a_session_is_a_gain_a_tilt_and_three_ripples_over_octaves(monkeypatch):
    monkeypatch.setattr("asd_jax.data.simulated_session.SPEED", 0.0)
    wave = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    turns = 2 * np.pi * np.outer(octaves, RIPPLES)
    shapes = np.column_stack([np.ones(len(hz)), octaves, np.cos(turns), np.sin(turns)])
    for number in range(4):
        heard = simulated_session(wave, RATE, number)
        decibels = 20 * np.log10(np.abs(np.fft.rfft(heard) / np.fft.rfft(wave)))
        found, *_ = np.linalg.lstsq(shapes, decibels)
        assert np.abs(shapes @ found - decibels).max() < 4e-5  # float32; measured 1.9e-5
        amplitudes = np.hypot(found[2:5], found[5:])
        assert abs(found[1]) <= TILT_DB and 0.01 < amplitudes.min() <= amplitudes.max() <= RIPPLE_DB
