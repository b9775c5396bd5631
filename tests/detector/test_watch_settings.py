"""The settings of a watch."""

import numpy as np
import pytest

from asd_jax.detector.watch_settings import WatchSettings, release_score
from asd_jax.monitoring.alarms import Alarm
from asd_jax.runtime.errors import InputError

NAN = float("nan")
GIVEN = {
    "rate": 16000,
    "window_seconds": 2.0,
    "hop_seconds": 1.0,
    "threshold": 2.0,
    "release": 1.0,
    "confirm": 3,
}


def test_an_alarm_and_a_watch_have_the_same_defaults():
    watch = WatchSettings(16000, 2.0, 1.0, 2.0, 1.0)
    alarm = Alarm(2.0, 1.0)
    names = ("threshold", "release", "confirm", "hold_seconds", "of", "on_delay_seconds")
    defaults = [2.0, 1.0, 2, 30.0, 0, 0.0]
    for of in (watch, alarm):
        assert [getattr(of, name) for name in names] == defaults
    assert watch.status_seconds == 3600


def test_an_alarm_ends_between_the_threshold_and_the_usual_score():
    normal = np.array([1.0, 2.0, 9.0])
    scores = [release_score(normal, 10.0, hysteresis) for hysteresis in (0.0, 0.25, 1.0)]
    assert scores == [10.0, 8.0, 2.0]


def test_the_first_line_has_the_settings_and_what_they_mean():
    settings = WatchSettings(16000, 2.0, 0.5, 2.000049, 1.23456, confirm=3)
    assert settings.start_line(0.05) == {
        "event": "start",
        "rate": 16000,
        "window_seconds": 2.0,
        "hop_seconds": 0.5,
        "threshold": 2.0,
        "release": 1.2346,
        "alarm_latency_seconds": 3.5,
        "false_alarm_rate": 0.05,
        "windows_above_threshold_a_day_when_well": 8640.0,
    }
    uneven = WatchSettings(16000, 2.0, 0.7, 2.0, 1.0, on_delay_seconds=1.56789).start_line(1e-4)
    assert uneven["alarm_latency_seconds"] == 3.568
    assert uneven["windows_above_threshold_a_day_when_well"] == 12.3


@pytest.mark.parametrize(
    "given",
    [
        {"hop_seconds": 2.0},
        {"of": 3},
        {"confirm": 1},
        {"release": 2.0},
        {"hold_seconds": 0.0, "on_delay_seconds": 0.0},
        {"status_seconds": 0.5},
    ],
)
def test_settings_at_their_limits_are_accepted(given):
    settings = WatchSettings(**{**GIVEN, **given})
    assert all(getattr(settings, name) == value for name, value in given.items())


def test_the_latency_is_a_window_a_hop_per_window_that_confirms_and_the_rest_of_the_delay():
    assert WatchSettings(**GIVEN).latency_seconds == 2 + 3
    assert WatchSettings(**GIVEN, on_delay_seconds=2.5).latency_seconds == 2 + 3
    assert WatchSettings(**GIVEN, on_delay_seconds=5.0).latency_seconds == 2 + 3 + 2
    half = {**GIVEN, "hop_seconds": 0.5}
    assert WatchSettings(**half, on_delay_seconds=5.0).latency_seconds == 2 + 1.5 + 3.5


def test_a_window_and_a_hop_are_whole_samples():
    settings = WatchSettings(**{**GIVEN, "window_seconds": 0.50001, "hop_seconds": 1e-9})
    assert settings.samples == (8000, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hop_seconds": 2.1}, "a hop of 2.1 s: must be above 0 and at most the window, 2 s"),
        ({"hop_seconds": 0.0}, "a hop of 0 s: must be above 0"),
        ({"of": 2}, "--of=2 must be at least --confirm=3"),
        ({"on_delay_seconds": NAN}, "--on_delay_seconds at least 0"),
        ({"on_delay_seconds": -0.1}, "--on_delay_seconds at least 0"),
        ({"of": 1, "on_delay_seconds": 1.0}, "--of=1 must be at least --confirm=3"),
        ({"hold_seconds": -0.1}, "--confirm must be at least 1"),
        ({"status_seconds": 0.0}, "--status_seconds above 0"),
        ({"confirm": 0}, "--confirm must be at least 1"),
        ({"release": 2.1}, "--confirm must be at least 1"),
        ({"release": NAN}, "--confirm must be at least 1"),
        ({"hold_seconds": NAN}, "--confirm must be at least 1"),
        ({"status_seconds": NAN}, "--status_seconds above 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        WatchSettings(**{**GIVEN, **given})
