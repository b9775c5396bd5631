import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.new_session import (
    median_and_deviation,
    new_session_threshold,
    weighted_quantile,
)


def test_a_score_a_session_gives_the_conformal_threshold():
    scores = np.random.default_rng(0).normal(size=99)
    for rate, place in ((0.5, 50), (0.1, 90), (0.05, 95), (0.01, 99)):  # ceil(100 (1 - rate))
        assert weighted_quantile(scores, np.arange(99), rate) == np.sort(scores)[place - 1]


def test_sessions_count_alike_however_many_scores_they_have():
    scores = np.concatenate([np.zeros(1000), np.ones(10), np.full(10, 2.0)])
    session = np.repeat([0, 1, 2], [1000, 10, 10])
    assert weighted_quantile(scores, session, 0.5) == 1


def test_new_sessions_alarm_about_as_often_as_asked_for():
    rng = np.random.default_rng(1)
    rate = 0.05
    alarms = []
    for _ in range(600):
        days = rng.normal(size=(4, 1)) + 0.5 * rng.normal(size=(4, 8))
        new = rng.normal() + 0.5 * rng.normal(size=50)
        session = np.repeat(np.arange(4), 8)
        cut = new_session_threshold(days.ravel(), session, rate, random_effects=True)[0]
        alarms.append(np.mean(new > cut))
    # Measured 0.064 +- 0.009; the quantile alone: 0.17.
    assert 0.5 * rate < np.mean(alarms) < 2 * rate


def test_a_sixth_of_the_scores_cannot_move_median_and_deviation_far():
    scores = np.random.default_rng(2).normal(10, 1, 100)
    odd = np.where(np.arange(100) < 16, 1e6, scores)
    (usual, spread) = median_and_deviation(scores)
    (moved, widened) = median_and_deviation(odd)
    # Measured 0.23 and 1.9.
    assert abs(moved - usual) < 0.5 and widened < 4 * spread


def test_the_quantile_of_a_new_session_is_that_of_scores_with_an_exponential_tail():
    rng = np.random.default_rng(4)
    alarms = {0.01: [], 0.05: []}
    session = np.repeat(np.arange(10), 8)
    for _ in range(200):
        days = rng.exponential(size=80)
        for rate, found in alarms.items():
            cut = new_session_threshold(days, session, rate, random_effects=True)[0]
            found.append(np.mean(rng.exponential(size=200) > cut))
    # Measured .0086 and .043.
    assert all(0.6 * rate < np.mean(found) < 1.4 * rate for rate, found in alarms.items())


def test_too_few_scores_are_refused():
    with pytest.raises(InputError, match="fewer than 3 of them different"):
        new_session_threshold(np.array([1.0, 1.0, 2.0]), np.arange(3), 0.05)
    with pytest.raises(InputError, match="between 0 and 1"):
        new_session_threshold(np.arange(9.0), np.arange(9), 1.0)
