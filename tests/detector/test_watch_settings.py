"""The settings of a watch."""

import pytest

from asd_jax.detector.watch_settings import WatchSettings
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


def test_the_latency_is_a_window_a_hop_per_window_that_confirms_and_the_rest_of_the_delay():
    assert WatchSettings(**GIVEN).latency_seconds == 2 + 3
    assert WatchSettings(**GIVEN, on_delay_seconds=2.5).latency_seconds == 2 + 3
    assert WatchSettings(**GIVEN, on_delay_seconds=5.0).latency_seconds == 2 + 3 + 2


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
