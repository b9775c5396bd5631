"""Claims about slow changes."""

import numpy as np
import pytest

from asd_jax.monitoring.store import DAY
from asd_jax.monitoring.trend import DAYS, FEWEST_DAYS, date, trend
from asd_jax.runtime.errors import InputError

NOW = 1.8e9
HOURS = np.arange(24 * DAYS)
TIME = NOW - DAY * DAYS + 3600.0 * HOURS


def found(value, **options):
    return trend(TIME, value, np.ones(len(value)), now=NOW, **options)


def noise(seed=0, size=0.3):
    """Returns hourly noise with a daily cycle."""
    rng = np.random.default_rng(seed)
    days = np.repeat(rng.normal(0, size / 3, DAYS), 24)
    return rng.normal(0, size, len(HOURS)) + size * np.sin(2 * np.pi * HOURS / 24) + days


def test_a_line_has_its_slope_and_reaches_the_threshold_when_it_does():
    one = found(0.05 * HOURS / 24 + noise(), threshold=2.0)
    assert one.direction == 1 and one.shape == "line" and one.due
    low, high = one.slope_interval
    assert low < 0.05 < high
    likely, early, late = one.days_to_threshold
    assert early < (2.0 - 0.05 * 30) / 0.05 < late and early < likely < late
    assert "rising since at least" in one.message("score")
    assert "reaches the threshold of 2 in about" in one.message("score")


def test_a_bend_is_dated():
    began = 18
    one = found(0.1 * np.maximum(HOURS / 24 - began, 0) + noise(size=0.1), threshold=3.0)
    assert one.shape == "bend" and one.direction == 1
    assert abs(one.since - TIME[24 * began]) <= 2 * DAY
    assert f"rising since {date(one.since)}" in one.message("score")


def test_a_step_is_dated_and_does_not_go_on():
    one = found(1.0 * (HOURS >= 24 * 15) + noise(size=0.1), threshold=3.0)
    assert one.shape == "step" and one.direction == 1 and one.due
    assert abs(one.since - TIME[24 * 15]) <= DAY and one.change == pytest.approx(1, abs=0.2)
    assert not np.isfinite(one.days_to_threshold).any() and "at once" in one.message("score")


def test_a_falling_score_and_a_distant_threshold_are_not_due():
    assert found(-0.05 * HOURS / 24 + noise()).direction == -1
    assert not found(-0.05 * HOURS / 24 + noise(), threshold=2.0).due
    one = found(0.05 * HOURS / 24 + noise(), threshold=9.0)
    assert one.direction == 1 and not one.due


def test_an_alarm_of_some_hours_is_no_trend():
    value = noise()
    value[-30:-24] += 20
    assert not found(value, threshold=2.0).due


def test_a_constant_is_steady():
    one = found(np.full(len(HOURS), 1.0), threshold=2.0)
    assert one.direction == 0 and one.slope == 0 and "steady over 30 days" in one.message("score")


def test_days_without_sound_are_left_out_and_too_few_are_refused():
    value = 0.05 * HOURS / 24 + noise()
    value[(HOURS // 24) % 7 >= 5] = np.nan
    assert found(value).days == 22 and found(value).direction == 1
    value[: 24 * 24] = np.nan
    with pytest.raises(InputError, match=f"at least {FEWEST_DAYS} are needed"):
        found(value)
