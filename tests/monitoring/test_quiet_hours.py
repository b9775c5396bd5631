"""Claims about hours in which nothing is announced."""

import datetime

import pytest

from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.runtime.errors import InputError


def at(hour, minute=0):
    return datetime.datetime(2026, 3, 14, hour, minute).timestamp()


def test_quiet_hours_may_span_midnight():
    quiet = QuietHours.parse("22:15-06:30")
    times = (at(22, 14), at(22, 15), at(0), at(6, 29), at(6, 30), at(12))
    assert [quiet.at(time) for time in times] == [False, True, True, True, False, False]


def test_no_quiet_hours_are_the_default():
    assert not any(QuietHours.parse("").at(at(hour)) for hour in range(24))


@pytest.mark.parametrize("text", ["22-6", "24:00-06:00", "22:00", "22:60-06:00", "x"])
def test_other_forms_are_refused(text):
    with pytest.raises(InputError, match="should be of the form 22:00-06:00"):
        QuietHours.parse(text)
