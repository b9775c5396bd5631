"""Claims about the settings of a detector."""

import pytest

from asd_jax.detector.notes import Kind
from asd_jax.detector.settings import Settings, check_window, usual_window
from asd_jax.runtime.errors import InputError


def test_a_sound_is_short_below_nine_tenths_of_a_window():
    settings = Settings(16000, 2.0)
    (note,) = settings.short(28_799)
    assert note.kind == Kind.SHORT and "less than the window of 2 s" in note
    assert settings.short(28_800) == ()


def test_five_percent_of_windows_of_ten_seconds_at_16_khz_is_the_default():
    assert Settings() == Settings(16000, 10.0, 0.05, tokens=False)


def test_the_usual_window_is_the_median_length_within_its_limits():
    assert usual_window([1.0, 2.0, 9.0]) == 2.0
    assert usual_window([60.0]) == 10.0 and usual_window([0.01]) == 0.2
    with pytest.raises(InputError, match="^no normal recordings to learn from$"):
        usual_window([])


def test_a_window_may_be_ten_times_the_longest_recording():
    check_window(20.0, [1.0, 2.0])
    check_window(20.0, [])
    message = "^windows of 20.1 s, but the longest of 2 recordings lasts 2 s: give at most that"
    with pytest.raises(InputError, match=message):
        check_window(20.1, [1.0, 2.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sample_rate": 999}, "sample_rate=999 must lie in 1000..768000"),
        ({"sample_rate": 768_001}, "sample_rate=768001 must lie in 1000..768000"),
        ({"window_seconds": 0.1}, "window_seconds=0.1 must lie in 0.2..60"),
        ({"window_seconds": 60.5}, "window_seconds=60.5 must lie in 0.2..60"),
        ({"false_alarm_rate": 0.0}, "false_alarm_rate=0.0 must lie in 1e-09..0.999999999"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate=1.0 must lie in 1e-09..0.999999999"),
    ],
)
def test_a_setting_outside_its_range_is_named(given, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        Settings(**given)
