"""Claims about slow changes."""

import dataclasses
import datetime
import re

import numpy as np
import pytest

from asd_jax.monitoring import trend as module
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import DAYS, Trend, daily, date, reported_trend, score_trend, trend
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
    value = np.where(HOURS < 24 * 23, np.nan, HOURS / 24)
    assert found(value).days == 7
    value[24 * 23 : 24 * 24] = np.nan
    with pytest.raises(InputError, match="^6 of the last 30 days have .* at least 7 are needed"):
        found(value)


def of_days(value, **options):
    """Returns the trend of values of which each day has one, the last day last."""
    age = np.arange(len(value), 0, -1) - 0.5
    return trend(NOW - DAY * age, np.array(value), np.ones(len(value)), now=NOW, **options)


def test_a_line_without_noise_has_its_numbers_exactly():
    value = 0.1 * np.arange(30)
    one = of_days([*value[:28], np.nan, np.nan], threshold=4.0)
    assert (one.days, one.direction, one.shape) == (28, 1, "line")
    assert (one.since, one.threshold) == (NOW - 30 * DAY, 4.0) and one.p_value < 0.001
    assert [one.slope, *one.slope_interval] == pytest.approx([0.1] * 3)
    # Now is the end of the last day, also if the last two had no sound; a value is of noon.
    assert (one.present, one.change) == pytest.approx((2.95, 2.95))
    assert one.days_to_threshold == pytest.approx((10.5,) * 3)


def test_a_bend_without_noise_has_the_slope_after_it():
    value = [*[0.0, 0.01] * 9, *(0.1 * np.arange(1, 13))]
    one = of_days(value)
    assert (one.shape, one.since) == ("bend", NOW - 12 * DAY) and one.slope == pytest.approx(0.1)
    assert (one.present, one.change) == pytest.approx((1.25, 1.245)) and np.isnan(one.threshold)


def test_a_step_is_the_difference_of_the_medians_before_and_after_it():
    one = of_days([0.0, 0.2, 50.0, 50.1, 50.2, 50.3, 50.05, 50.15])
    assert (one.shape, one.since) == ("step", NOW - 6 * DAY)
    assert (one.present, one.change) == pytest.approx((50.125, 50.025))


def test_several_values_looked_at_together_must_each_be_more_significant(monkeypatch):
    limits = []

    def looked(*values, of=module.significance):
        limits.append(values[-1])
        return of(*values)

    monkeypatch.setattr(module, "significance", looked)
    of_days(np.arange(10.0))
    of_days(np.arange(10.0), looks=10)
    assert limits == [0.05, 0.005]


def test_a_day_is_24_hours_back_from_now_and_its_value_the_lower_weighted_median():
    age_days = np.array([30.01, 30.0, 2.0, 1.9, 1.5, 1.2, 1.0, 0.5, 0.0])
    value = np.array([9.0, 7.0, 1.0, 2.0, np.nan, 3.0, 5.0, 4.0, 9.0])
    count = np.array([1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 3.0, 1.0, 1.0])
    start, median = daily(NOW - DAY * age_days, value, count, NOW)
    assert start.tolist() == [NOW - 30 * DAY, NOW - 2 * DAY, NOW - DAY]
    assert median.tolist() == [7.0, 2.0, 5.0]
    # Of two values that weigh as much, the lower one.
    assert daily(NOW - DAY * np.array([0.2, 0.1]), np.array([2.0, 1.0]), np.ones(2), NOW)[1] == [1]


RISING = Trend(
    days=30,
    slope=0.125,
    slope_interval=(0.05, 0.25),
    p_value=0.01,
    direction=1,
    shape="line",
    since=NOW,
    change=1.0,
    present=1.0,
    threshold=2.0,
)


def like(**changes):
    return dataclasses.replace(RISING, **changes)


def test_the_threshold_is_reached_by_each_slope_that_is_positive():
    assert RISING.days_to_threshold == (8, 4, 20)
    assert like(slope_interval=(0.0, 0.25)).days_to_threshold == (8, 4, np.inf)
    assert like(slope=-1.0, slope_interval=(-2.0, -0.5)).days_to_threshold == (np.inf,) * 3
    assert like(present=2.5).days_to_threshold == (0, 0, 0)
    for never in (like(shape="step"), like(threshold=np.nan)):
        assert never.days_to_threshold == (np.inf,) * 3


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, True),
        ({"threshold": 4.75}, True),  # in 30 days
        ({"threshold": 4.76}, False),
        ({"direction": 0}, False),
        ({"direction": -1}, False),
        ({"threshold": np.nan}, False),
        ({"shape": "step"}, True),
        ({"shape": "step", "direction": -1}, False),
    ],
)
def test_a_rise_is_due_by_a_step_or_if_it_reaches_the_threshold_within_thirty_days(changes, due):
    assert like(**changes).due is due


@pytest.mark.parametrize(
    ("changes", "words", "numbers"),
    [
        ({}, ["rising", "at least", "in about"], [0.125, 0.05, 0.25, 1, 2, 8, 4, 20]),
        ({"slope_interval": (-0.05, 0.25)}, ["never"], [0.125, -0.05, 0.25, 1, 2, 8, 4]),
        ({"present": 2.5}, ["above the threshold"], [0.125, 0.05, 0.25, 2.5, 2]),
        ({"present": 1.95}, ["in about"], [0.125, 0.05, 0.25, 1.95, 2, 0, 0, 1]),
        ({"threshold": np.nan, "direction": -1}, ["falling"], [0.125, 0.05, 0.25, 1]),
        ({"shape": "step"}, ["at once"], [1, 1]),
        ({"direction": 0}, ["steady over"], [30, 0.125, 0.05, 0.25, 1, 2]),
        ({"direction": 0, "threshold": np.nan}, ["steady"], [30, 0.125, 0.05, 0.25, 1]),
    ],
)
def test_the_message_names_the_numbers_of_the_trend_and_no_others(changes, words, numbers):
    one = like(**changes)
    message = one.message("level", "dB")
    assert message.startswith("level ") and all(word in message for word in words)
    assert ("at least" in message) == (one.direction != 0 and one.shape == "line")
    assert (f"since {'at least ' * (one.shape == 'line')}{date(NOW)}" in message) == bool(
        one.direction
    )
    said = re.findall(r"[-+]?\d+\.?\d*", message.replace(date(NOW), ""))
    assert [float(number) for number in said] == numbers
    assert message.count(" dB") == (1 if one.direction else 2)


def test_a_date_is_local():
    assert date(datetime.datetime(2026, 3, 14, 0, 30).timestamp()) == "14 March 2026"


@pytest.fixture
def rising(tmp_path):
    """A store in which the score of the pump rises by 0.02 a day."""
    with Store(tmp_path / "plant.db") as store:
        for n in range(30):
            time = NOW - DAY * (29.5 - n)
            store.add("pump", Reading(time, 10.0, 0.02 * n, 1.0 if n == 29 else 5.0 + n))
        yield store


def test_the_trend_of_a_score_has_the_present_threshold_and_the_days_asked_for(rising):
    one = score_trend(rising, "pump", NOW)
    assert (one.days, one.threshold, one.direction) == (30, 1.0, 1)
    assert one.slope == pytest.approx(0.02)
    assert score_trend(rising, "pump", NOW, days=10).days == 10
    with pytest.raises(InputError, match="^0 of the last 10 days"):
        score_trend(rising, "fan", NOW, days=10)


def test_a_rise_is_reported_and_recorded_once_in_seven_days(rising):
    message = reported_trend(rising, "pump", NOW)
    (event,) = rising.events()
    one = score_trend(rising, "pump", NOW)
    assert message == one.message("score") and event == {
        "id": 1,
        "machine": "pump",
        "time": NOW,
        "event": "trend",
        "message": message,
        "since": one.since,
        "slope": one.slope,
    }
    assert reported_trend(rising, "pump", NOW + 6.99 * DAY) == ""
    assert reported_trend(rising, "pump", NOW + 7 * DAY).startswith("score rising")


def test_nothing_is_reported_of_a_steady_score_or_of_too_few_days(rising):
    for n in range(30):
        rising.add("fan", Reading(NOW - DAY * (29.5 - n), 10.0, 1.0, 2.0))
    assert reported_trend(rising, "fan", NOW) == "" == reported_trend(rising, "press", NOW)
