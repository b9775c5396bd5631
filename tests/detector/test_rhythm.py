"""Claims about faults of timing, on a beat in noise with 20 normal recordings."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.detector.detector import Detector
from asd_jax.runtime.errors import InputError

RATE = 16000
PERIOD = 0.31


def beats(seed, *, fault="", seconds=3.0):
    """Returns one recording of a click that rings, once per period, with a hiss after it."""
    rng = np.random.default_rng(seed)
    starts = np.arange(rng.uniform(0, PERIOD), seconds, PERIOD * rng.uniform(0.99, 1.01))
    if fault == "missing":
        starts = np.delete(starts, len(starts) // 2)
    if fault == "irregular":
        starts = starts + rng.normal(0, 0.15 * PERIOD, len(starts))
    t = np.arange(round(seconds * RATE)) / RATE
    wave = 0.01 * rng.standard_normal(len(t))
    for start in starts:
        age = t - start
        click = np.exp(-age / 0.02) * np.sin(2 * np.pi * 900 * age)
        hiss = ((age > 0.05) & (age < 0.15)) * rng.standard_normal(len(t))
        wave += (age > 0) * (0.3 * np.where(age > 0, click, 0) + 0.03 * hiss)
    wave = wave[::-1] if fault == "reversed" else wave
    return wave.astype(np.float32)


@pytest.fixture(scope="module")
def cyclic():
    return Detector.fit([beats(seed) for seed in range(20)], RATE, weights=None)


@pytest.mark.parametrize("fault", ["missing", "irregular", "reversed"])
def test_faults_of_timing_are_found(cyclic, fault):
    normal = cyclic.examine_all([beats(seed) for seed in range(100, 112)])
    faulty = cyclic.examine_all([beats(seed, fault=fault) for seed in range(200, 212)])
    scores = [verdict.score for verdict in (*normal, *faulty)]
    assert roc_auc_score([0] * 12 + [1] * 12, scores) >= 0.95  # measured 1.0
    assert sum(verdict.view == "rhythm" for verdict in faulty) >= 9
    assert sum(verdict.is_anomaly for verdict in normal) <= 2


def test_a_machine_without_a_rhythm_is_compared_as_before(plain, cyclic):
    assert set(plain.bank.scoring) == {"level", "fluctuation"}
    assert set(cyclic.bank.scoring) == {"level", "fluctuation", "rhythm"}


def test_a_detector_with_a_rhythm_is_saved_and_updated_and_gives_the_same_scores(cyclic, tmp_path):
    cyclic.save(tmp_path / "a.detector")
    again = Detector.load(tmp_path / "a.detector")
    assert again.score(beats(300)) == pytest.approx(cyclic.score(beats(300)), abs=1e-9)
    more = again.update([beats(seed) for seed in range(400, 403)])
    assert set(more.bank.scoring) == set(cyclic.bank.scoring) and len(more.names) == 23


def test_an_update_keeps_a_detector_without_rhythm_as_it_is(plain):
    more = plain.update([beats(seed, seconds=2.0) for seed in range(3)], keep_odd=True)
    assert set(more.bank.scoring) == {"level", "fluctuation"}


def test_a_file_with_a_view_too_few_is_refused(cyclic, tmp_path):
    bank = cyclic.bank
    scoring = {view: of for view, of in bank.scoring.items() if view != "fluctuation"}
    broken = dataclasses.replace(cyclic, bank=dataclasses.replace(bank, scoring=scoring))
    broken.save(tmp_path / "b.detector")
    with pytest.raises(InputError):
        Detector.load(tmp_path / "b.detector")
