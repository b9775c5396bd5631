"""Pseudo-anomalies are what they say; every machine gets its own candidate; ranks."""

import numpy as np
import pytest

from benchmarks import automatic_choice
from benchmarks.verdict import row_of

RNG = np.random.default_rng(0)


def test_the_other_machine_is_mixed_in_10_db_below():
    wave, other = (
        RNG.normal(size=16000).astype(np.float32),
        RNG.normal(size=5000).astype(np.float32) * 40,
    )
    added = automatic_choice.mixed(wave, other) - wave
    assert 10 * np.log10(np.mean(added**2) / np.mean(wave**2)) == pytest.approx(-10, abs=1e-3)
    np.testing.assert_array_equal(automatic_choice.mixed(wave, np.zeros(10, np.float32)), wave)


def test_surgery_changes_half_an_octave_by_9_db_and_nothing_else():
    wave = RNG.normal(size=16000).astype(np.float32)
    gain = np.abs(np.fft.rfft(automatic_choice.surgery(wave, np.random.default_rng(1)))) / np.abs(
        np.fft.rfft(wave)
    )
    decibels = np.abs(20 * np.log10(gain))
    changed = np.flatnonzero(decibels > 4.5)
    assert decibels[changed] == pytest.approx(9, abs=0.05)  # float32 waves
    assert changed.max() / changed.min() == pytest.approx(2**0.5, rel=0.01)
    assert len(changed) == changed.max() - changed.min() + 1
    assert np.delete(decibels, changed) == pytest.approx(0, abs=0.05)


def test_every_machine_is_scored_by_its_own_candidate():
    clips = [
        (m, "00", d, label)
        for m in ("fan", "pump")
        for d in ("source", "target")
        for label in (0, 1)
    ]
    truth = np.array([clip[3] for clip in clips], float)
    of_fan = np.array([clip[0] == "fan" for clip in clips])
    tests = {
        "knows fans": row_of(clips, np.where(of_fan, truth, -truth)[None], 2024),
        "knows pumps": row_of(clips, np.where(of_fan, -truth, truth)[None], 2024),
    }
    right = automatic_choice.assembled(tests, {"fan": "knows fans", "pump": "knows pumps"}, 2024)
    assert right.official == [1.0]
    assert automatic_choice.machine_score(tests["knows fans"], "fan") == 1.0
    wrong = automatic_choice.assembled(tests, {"fan": "knows pumps", "pump": "knows fans"}, 2024)
    assert wrong.official[0] < 0.01


def test_ranks_are_averaged_and_correlated():
    up = {"a": {"fan": 1.0}, "b": {"fan": 2.0}, "c": {"fan": 3.0}}
    down = {"a": {"fan": 9.0}, "b": {"fan": 8.0}, "c": {"fan": 7.0}}
    assert automatic_choice.mean_ranks([up, down]) == {name: {"fan": 2.0} for name in "abc"}
    assert automatic_choice.rank_correlation(up, down, "fan") == pytest.approx(-1)
    assert automatic_choice.rank_correlation({name: {"fan": 0.0} for name in "abc"}, up, "fan") == 0
