"""Claims about the beginning and the end of alarms."""

from asd_jax.monitoring.alarms import Alarm, Moment


def feed(alarm, scores):
    """Returns {number of the window: event} for windows of one second."""
    events = {
        n: alarm.feed(Moment(n + 0.0), Moment(n + 1.0), float(s)) for n, s in enumerate(scores)
    }
    return {n: event for n, event in events.items() if event}


def test_n_of_m_windows_start_an_alarm_that_dates_from_the_first_of_them():
    found = feed(Alarm(2.0, 1.0, confirm=3, of=5), [3, 0, 3, 0, 0, 0, 3, 0, 3, 0, 4, 0])
    assert list(found) == [10]
    assert (found[10]["start"], found[10]["at"], found[10]["peak"]) == (6.0, 11.0, 4)


def test_windows_below_the_threshold_start_no_alarm_however_many_were_above():
    assert feed(Alarm(2.0, 1.0, confirm=2, of=4, on_delay_seconds=3.0), [3, 3, 0, 0, 0]) == {}


def test_the_on_delay_holds_an_alarm_back_until_the_condition_has_lasted():
    assert list(feed(Alarm(2.0, 1.0, confirm=1, on_delay_seconds=4.0), [3] * 6)) == [3]
    assert feed(Alarm(2.0, 1.0, confirm=1, on_delay_seconds=4.0), [3, 3, 3, 0, 3, 3, 3]) == {}


def test_a_resumed_alarm_ends_like_any_other():
    alarm = Alarm(2.0, 1.0, hold_seconds=2.0)
    alarm.resume(Moment(-5.0), Moment(-1.0), peak=7.0)
    assert alarm.active and alarm.count == 0
    end = {"event": "alarm_end", "start": -5.0, "end": -1.0, "seconds": 4.0, "peak": 7.0}
    assert feed(alarm, [0, 0]) == {0: end}
    assert (alarm.started, alarm.ended, alarm.peak) == (Moment(-5.0), Moment(-1.0), 7.0)


def test_two_windows_in_a_row_start_an_alarm_that_half_a_minute_ends():
    found = feed(Alarm(2.0, 1.0), [3, 0, 3, 3, *[0] * 31])
    assert list(found) == [3, 33] and (found[3]["start"], found[33]["end"]) == (2.0, 4.0)


def test_a_score_at_the_threshold_counts_for_no_alarm_and_one_at_the_release_ends_it():
    assert feed(Alarm(2.0, 1.0, confirm=1), [2, 2, 2]) == {}
    found = feed(Alarm(2.0, 1.0, confirm=1, hold_seconds=2.0), [3, 1, 1])
    assert list(found) == [0, 2]
    # The window that ends the delay must itself be above the threshold.
    delayed = Alarm(2.0, 1.0, confirm=2, of=3, on_delay_seconds=3.0)
    assert list(feed(delayed, [3, 3, 2, 3])) == [3]


def test_the_peak_is_the_highest_score_of_its_alarm_alone():
    found = feed(Alarm(2.0, 1.0, confirm=2, hold_seconds=1.0), [5, 3, 0, 3, 4, 9, 0])
    assert [event["peak"] for event in found.values()] == [5, 5, 4, 9]
    # A score between the first windows and the end of the delay counts, too.
    found = feed(Alarm(2.0, 1.0, confirm=1, on_delay_seconds=3.0), [3, 6, 3])
    assert found[2]["peak"] == 6


def test_windows_of_one_alarm_do_not_count_towards_the_next():
    found = feed(Alarm(2.0, 1.0, confirm=2, hold_seconds=1.0), [3, 3, 0, 3, 0])
    assert list(found) == [1, 2]
    found = feed(Alarm(2.0, 1.0, confirm=1, hold_seconds=1.0), [3, 0, 3])
    assert list(found) == [0, 1, 2] and found[2]["start"] == 2.0


def test_alarm_waits_for_confirmation_and_holds():
    alarm = Alarm(threshold=2.0, release=1.0, confirm=2, hold_seconds=3.0)
    scores = [0.0, 3.0, 0.0, 3.0, 4.0, 1.5, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 3.0]
    changes = {
        n: found
        for n, s in enumerate(scores)
        if (found := alarm.feed(Moment(n + 0.0), Moment(n + 1.0), s))
    }
    assert changes == {
        4: {"event": "alarm_start", "start": 3.0, "at": 5.0, "peak": 4},
        # 1.5 lies between release and threshold: it keeps an alarm on (up to 9 s), and starts none.
        11: {"event": "alarm_end", "start": 3.0, "end": 9.0, "seconds": 6.0, "peak": 4},
    }
    assert alarm.count == 1 and not alarm.active and alarm.finish() is None


def test_alarm_that_nobody_saw_end():
    alarm = Alarm(2.0, 1.0, confirm=1)
    alarm.feed(Moment(0.0), Moment(1.0), 5.0)
    assert alarm.finish() == {
        "event": "alarm_end",
        "start": 0.0,
        "end": 1.0,
        "seconds": 1.0,
        "peak": 5,
        "still_on": True,
    }


def test_a_moment_of_a_file_comes_after_the_sound_before_the_file():
    assert Moment(3.0).processed == 3.0 and Moment(3.0).fields("at") == {"at": 3.0}
    later = Moment(3.0, "b.wav", before=60.0)
    assert later.processed == 63.0 and later.fields("at") == {"at": 3.0, "at_file": "b.wav"}
