import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.conformal import RAREST, conformal_threshold, min_normal_sounds, p_values
from asd_jax.scoring.new_session import new_session_threshold


def threshold_of(scores, rate):
    """The threshold where every sound is a session of its own."""
    return new_session_threshold(scores, np.arange(len(scores)), rate)


def test_threshold_is_the_order_statistic_of_the_theory():
    # 99 of them: k = 100 (1 - rate)
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert [threshold_of(scores, rate)[0] for rate in (0.5, 0.1, 0.05, 0.01)] == [
        50,
        90,
        95,
        99,
    ]
    assert threshold_of(scores, 0.01)[1] == ""


def test_further_normal_sounds_alarm_no_more_often_than_asked_for():
    rng = np.random.default_rng(1)
    n = 39
    rate = 0.1
    alarms = [
        np.mean(rng.gamma(2, size=50) > threshold_of(rng.gamma(2, size=n), rate)[0])
        for _ in range(2000)
    ]
    # Expectation 1 - ceil(40 x 0.9) / 40 = 0.1 exactly; standard error of this mean 0.0014.
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.005)


def test_ten_clips_cannot_support_five_percent_and_that_is_said():
    scores = np.random.default_rng(2).normal(size=10)
    cut, note = threshold_of(scores, 0.05)
    assert cut == scores.max()
    assert (
        "10 normal sounds cannot support a false-alarm rate of 5 %" in note
        and "at least 19" in note
    )
    assert min_normal_sounds(0.05) == 19 and threshold_of(np.arange(19.0), 0.05) == (
        18.0,
        "",
    )


def test_below_that_one_in_n_plus_one_alarms():
    rng = np.random.default_rng(3)
    alarms = [
        np.mean(rng.gamma(2, size=50) > threshold_of(rng.gamma(2, size=9), 0.01)[0])
        for _ in range(2000)
    ]
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.01)  # standard error of this mean 0.002


def test_the_fewest_sounds_of_a_rate_are_one_less_than_its_inverse():
    rates = (0.5, 0.3, 0.1, 0.05, 0.01, 1e-9)
    assert [min_normal_sounds(rate) for rate in rates] == [1, 3, 9, 19, 99, 10**9 - 1]


def test_three_different_scores_are_enough_for_a_weak_threshold():
    for found in (threshold_of, conformal_threshold):
        cut, weak = found(np.array([1.0, 3.0, 2.0]), 0.05)
        assert cut == 3 and weak == (
            "3 normal sounds cannot support a false-alarm rate of 5 %: 25 % is the least they can "
            "show, with their highest score as the threshold. Record at least 19 normal sounds, "
            "or raise the rate"
        )


def test_rates_of_a_billionth_are_the_rarest():
    assert RAREST == 1e-9
    assert threshold_of(np.arange(9.0), RAREST)[0] == 8


def test_too_few_different_scores_are_refused():
    with pytest.raises(InputError, match="5 normal scores, fewer than 3 of them different"):
        threshold_of(np.array([1.0, 1.0, 1.0, 2.0, 2.0]), 0.05)


@pytest.mark.parametrize("rate", [1.0, 1 - 1e-12, 0.0, -0.1, 1e-310, 1e-10, np.nan])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(InputError, match="between 0 and 1"):
        threshold_of(np.arange(9.0), rate)


RATES = st.floats(RAREST, 1 - RAREST)


@given(RATES, RATES, st.integers(3, 60))
def test_a_higher_rate_never_raises_the_threshold(one, other, n):
    normal = np.arange(float(n))
    low, high = (threshold_of(normal, rate) for rate in sorted([one, other]))
    assert low[0] >= high[0] and bool(low[1]) >= bool(high[1])
    assert np.mean(normal > low[0]) <= max(one, other)


def test_nearly_every_normal_sound_may_alarm():
    assert threshold_of(np.arange(50.0), 1 - RAREST) == (0.0, "")


def test_p_values_count_the_sound_itself():
    np.testing.assert_allclose(
        p_values(np.array([5.0, 2.0, 0.0]), np.array([1.0, 2.0, 3.0])), [0.25, 0.75, 1.0]
    )


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=60, unique=True).map(np.array),
    st.floats(RAREST, 1 - RAREST),
)
def test_with_a_session_for_each_sound_the_thresholds_are_one(scores, rate):
    assert conformal_threshold(scores, rate) == threshold_of(scores, rate)
