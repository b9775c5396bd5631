import numpy as np
import pytest
import scipy.stats

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.new_session import (
    limit_of_few,
    median_and_deviation,
    new_session_threshold,
    weighted_quantile,
    widening_for_few,
)


def test_a_score_a_session_gives_the_conformal_threshold():
    scores = np.random.default_rng(0).normal(size=99)
    for rate, place in ((0.5, 50), (0.1, 90), (0.05, 95), (0.01, 99)):  # ceil(100 (1 - rate))
        assert weighted_quantile(scores, np.arange(99), rate) == np.sort(scores)[place - 1]


def test_sessions_count_alike_however_many_scores_they_have():
    scores = np.concatenate([np.zeros(1000), np.ones(10), np.full(10, 2.0)])
    session = np.repeat([0, 1, 2], [1000, 10, 10])
    assert weighted_quantile(scores, session, 0.5) == 1


def test_the_weight_of_a_new_score_counts_beside_those_of_the_known():
    """Session 1 has one score, session 0 two: a quarter of 3/4, a quarter of it, and half of it."""
    scores = np.array([2.0, 1.0, 3.0])
    session = np.array([0, 0, 1])
    found = [weighted_quantile(scores, session, rate) for rate in (0.9, 0.8125, 0.8, 0.625, 0.62)]
    assert found == [1, 1, 2, 2, 3]
    assert weighted_quantile(scores, session, 0.01) == 3  # too few: the highest


def test_deviations_of_few_scores_are_widened_by_students_t():
    for n, degrees, scores in ((0, 1, 1), (1, 1, 1), (2, 1, 2), (5, 4, 5)):
        widened = scipy.stats.t.ppf(0.95, degrees) * np.sqrt(1 + 1 / scores)
        assert widening_for_few(n) == pytest.approx(widened / scipy.stats.norm.ppf(0.95))


def test_a_limit_of_few_scores_is_students_until_they_have_a_quantile():
    scores = np.random.default_rng(0).normal(size=19)
    assert limit_of_few(scores[:1], 0.05) == limit_of_few(scores, 0.05) == -np.inf
    for n in (2, 18):
        of = scores[:n]
        scale = of.std(ddof=1) * np.sqrt(1 + 1 / n)
        expected = scipy.stats.t(n - 1, of.mean(), scale).ppf(0.95)
        assert limit_of_few(of, 0.05) == pytest.approx(expected)


def test_the_deviation_is_the_median_absolute_one_and_at_least_a_twentieth_of_the_median():
    normal = 1 / scipy.stats.norm.ppf(0.75)  # 1.4826
    found = median_and_deviation(np.array([1.0, 2, 3, 4, 100]))
    assert found == (3, pytest.approx(normal, abs=3e-5))
    assert median_and_deviation(np.full(3, 2.0)) == (2, 0.1)
    assert median_and_deviation(np.full(3, -2.0)) == (-2, 0.1)
    assert median_and_deviation(np.zeros(3)) == (0, np.finfo(np.float32).tiny)


ONE_TO_THREE = np.array([0.5, 1.5, 1.5, 2.5, 2.5, 3.5])
PAIRS = np.array([0, 0, 1, 1, 2, 2])
EXPONENTIAL = -np.log(0.05) - 1  # the 95 % quantile, from the mean, in deviations


@pytest.mark.parametrize(
    ("scores", "session", "expected"),
    [
        # Means 1, 2, 3 of variance 1; 0.5 within; 1 - 0.5 / 2 between.
        (ONE_TO_THREE, PAIRS, 2 + EXPONENTIAL * np.sqrt(1 / 3 + 0.75 + 0.5)),
        # A session of four scores: 2.5 / 5 within, the mean of a half, a half and a quarter of it.
        (
            np.array([0.5, 1.5, 1.5, 2.5, 2.5, 3.5, 2.5, 3.5]),
            np.array([0, 0, 1, 1, 2, 2, 2, 2]),
            2 + EXPONENTIAL * np.sqrt(1 / 3 + (1 - 0.4 * 1.25 / 3) + 0.4),
        ),
        # The means differ by less than chance: nothing between.
        (
            np.array([0.0, 2.0, 0.0, 2.0, 0.5, 1.5]),
            PAIRS,
            1 + EXPONENTIAL * np.sqrt(1.5),
        ),
        # The highest score lies above.
        (np.r_[0.1, np.zeros(16), 18], np.repeat(np.arange(3), 6), 18),
    ],
)
def test_the_threshold_of_few_sessions_is_that_of_a_clip_of_one_more(scores, session, expected):
    found, weak = new_session_threshold(scores, session, 0.05, random_effects=True)
    assert found == pytest.approx(expected, abs=1e-12)
    assert weak.startswith(f"{len(scores)} normal sounds cannot support a false-alarm rate of 5 %")
    plain = new_session_threshold(scores, session, 0.05)
    assert plain == (weighted_quantile(scores, session, 0.05), weak)


def test_two_sessions_and_sessions_of_one_score_have_a_quantile_alone():
    for session in (np.array([0, 0, 0, 1, 1, 1]), np.arange(6)):
        found = new_session_threshold(ONE_TO_THREE, session, 0.05, random_effects=True)[0]
        assert found == 3.5
    # Nineteen sessions have a quantile of their own at 5 %, eighteen have none.
    for sessions, own in ((19, True), (18, False)):
        session = np.repeat(np.arange(sessions), 2)
        scores = np.random.default_rng(0).normal(size=2 * sessions)
        found = new_session_threshold(scores, session, 0.05, random_effects=True)[0]
        assert (found == weighted_quantile(scores, session, 0.05)) == own


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
