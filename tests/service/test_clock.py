"""Claims about a clock that is set while the service runs: by hours, by years, for summer time."""

import dataclasses
import datetime
import functools
import itertools
import json
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import MACHINE, TOKEN, Listener, Radio, Served, kinds, play, until

from asd_jax.monitoring import recorder
from asd_jax.monitoring.cases import Occurrence, cases, raise_case
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.recorder import Recorder
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.shelving import shelve
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import reported_trend
from asd_jax.service.configuration import Machine
from asd_jax.service.readers import reader_of
from asd_jax.service.watcher import Clock, Watcher

HOUR = 3600.0
YEAR = 365 * DAY
# A step of NTP, summer time set by hand, a wrong date, and a board whose clock begins in 1970.
JUMPS = (-5.0, HOUR, -HOUR, -6 * HOUR, 8 * YEAR, -50 * YEAR)


@pytest.mark.parametrize("jump", JUMPS)
def test_an_alarm_lasts_as_long_as_its_sound_whatever_the_clock_does(
    watcher, clock, monkeypatch, jump
):
    verdict = watcher.detector.examine(sound(0, 1.0), RATE)
    monkeypatch.setattr(  # scoring all windows would take seconds
        type(watcher.detector),
        "examine",
        lambda _, wave, rate: dataclasses.replace(verdict, score=99.0 * (wave.max() > 0.3)),
    )
    for second in range(20):
        play(watcher, clock, sound(second % 12, 1.0, fault=0.3))
        clock.wall += jump if second == 9 else 0
    for second in range(31):
        assert watcher.alarm.active is (second < 30)
        play(watcher, clock, sound(second % 12, 1.0))
    *_, cleared = (e for e in watcher.recorder.store.events() if e["event"] == "alarm_cleared")
    assert cleared["message"] == "after 20 s" and kinds(watcher).count("clock_jump") == 1
    (occurrence,) = cases(watcher.recorder.store)[0].occurrences
    assert occurrence.ended >= occurrence.started


@pytest.mark.parametrize("jump", JUMPS)
def test_a_machine_is_shelved_for_as_long_as_was_said(watcher, clock, jump):
    play(watcher, clock, sound(0, 1.0))
    shelve(watcher.recorder.store, "pump", clock.wall, clock.wall + 60)
    began = clock.steady
    for second in range(90):
        clock.wall += jump if second == 30 else 0
        clock.pass_by(1)
        watcher.tick()
        if second == 5:
            raise_case(watcher.recorder.store, "pump", Occurrence(clock.wall, 3.0, 2.0))
        if "alarm_announced" in kinds(watcher):
            break
    assert 59 <= clock.steady - began <= 61


def test_a_clock_that_was_set_back_while_nothing_ran_shelves_for_thirty_days_at_most(tmp_path):
    with Store(tmp_path / "s.db") as store:
        case = raise_case(store, "pump", Occurrence(1.8e9, 3.0, 2.0))
        shelve(store, "pump", 1.8e9, 1.8e9 + HOUR)
        (case,) = cases(store)
        assert case.state(1.8e9) == "shelved" and case.state(1.8e9 - YEAR) == "raised"


def test_silence_is_told_once_and_in_time_although_the_clock_jumps_every_second(watcher, clock):
    play(watcher, clock, sound(0, 1.0))
    began = clock.steady
    while "silent" not in kinds(watcher):
        clock.pass_by(1)
        clock.wall += (-1) ** int(clock.steady) * 5 * HOUR
        watcher.tick()
    assert clock.steady - began == MACHINE.silent_seconds
    clock.pass_by(60)
    watcher.tick()
    assert kinds(watcher).count("silent") == 1


@pytest.mark.parametrize("jump", [-HOUR, -6 * HOUR, -8 * YEAR])
def test_the_trend_is_looked_at_again_within_a_day_of_a_clock_that_was_set_back(
    tmp_path, monkeypatch, jump
):
    looks = []
    monkeypatch.setattr(recorder, "reported_trend", lambda *_: looks.append(1) or "")
    with Store(tmp_path / "s.db") as store:
        record = Recorder(store, "pump")
        record.tick(1.8e9)
        for hour in range(32):
            record.tick(1.8e9 + jump + HOUR * hour)
    assert len(looks) >= 2


def test_a_trend_of_a_wrong_date_neither_suppresses_nor_repeats_a_report(tmp_path):
    now = 1.8e9
    with Store(tmp_path / "s.db") as store:
        for day in range(14):
            store.add("pump", Reading(now - (14 - day) * DAY, 2.0, 0.5 * day, 8.0))
        store.event("pump", now + 8 * YEAR, "trend")
        assert "rising" in reported_trend(store, "pump", now)
        assert reported_trend(store, "pump", now - 6 * HOUR) == ""


@pytest.mark.parametrize("jump", JUMPS)
def test_readings_of_before_and_after_are_all_kept_and_old_ones_merged(tmp_path, jump):
    with Store(tmp_path / "s.db") as store:
        for start in (1.8e9, 1.8e9 + 3600 + jump + 0.5):
            for number in range(360):
                store.add("pump", Reading(start + 10 * number, 10.0, 1.0, 2.0))
        later = 1.8e9 + 7200 + jump + 3 * DAY
        store.add("pump", Reading(later, 10.0, 1.0, 2.0))
        readings = store.readings("pump")
    assert readings.count.sum() == 721
    # All but a clock that jumped far back make the first readings old.
    assert len(readings.time) < 100 or jump < -DAY


def test_a_file_is_played_at_its_own_speed_although_the_clock_jumps(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", sound(0, 0.6), RATE)
    wall = time.time
    jumps = itertools.cycle([0.0, -5 * HOUR, 5 * HOUR])
    monkeypatch.setattr(time, "time", lambda: wall() + next(jumps))
    machine = Machine(name="a", detector="d", source=str(tmp_path / "a.wav"), realtime=True)
    began = time.monotonic()
    stop = threading.Event()
    threading.Timer(5, stop.set).start()  # ends a wait of hours
    *blocks, _ = reader_of(machine)[0](stop)
    assert len(blocks) == 6 and 0.5 <= time.monotonic() - began <= 1.5


@pytest.mark.parametrize("day, hours", [("2026-03-28", 7), ("2026-10-24", 9), ("2026-06-01", 8)])
def test_quiet_hours_end_by_the_clock_on_the_wall_on_the_days_it_changes(monkeypatch, day, hours):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        quiet = QuietHours.parse("22:00-06:00")
        evening = datetime.datetime.fromisoformat(f"{day} 21:59").timestamp()
        night = [minute for minute in range(720) if quiet.at(evening + 60 * minute)]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (night[0], len(night)) == (1, 60 * hours)


@pytest.mark.slow
def test_a_running_service_goes_on_as_before_while_the_clock_jumps(
    plain_detector, tmp_path, monkeypatch, broker
):
    moved = [0.0]
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + moved[0])
    timed = functools.partial(Watcher, clock=Clock(wall=lambda: time.time()))
    monkeypatch.setattr("asd_jax.service.service.Watcher", timed)
    plain_detector.save(tmp_path / "pump.detector")
    (tmp_path / "token").write_text(TOKEN)
    radio = Radio()
    listener = Listener(broker.port)
    served = Served(
        tmp_path,
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n[web]\ntoken_file = "token"\n'
        f'[[machine]]\nname = "pump"\ndetector = "pump.detector"\nsource = "{radio.address}"\n'
        "hold_seconds = 2\n",
    )
    try:
        until(lambda: served.service.states()[0]["windows"] > 2)
        began = time.monotonic()
        windows = served.service.states()[0]["windows"]
        for jump in (6 * HOUR, -12 * HOUR, 8 * YEAR, 0.0):
            moved[0] = jump
            time.sleep(1.5)
        radio.fault = 0.3
        until(lambda: "alarm_announced" in str(listener.of("asd_jax/pump/event")), 10)
        moved[0] = -3 * HOUR
        radio.fault = 0.0
        until(lambda: "alarm_cleared" in str(listener.of("asd_jax/pump/event")), 15)
        state = served.service.states()[0]
        seconds = time.monotonic() - began
    finally:
        served.end()
        listener.end()
        radio.end()
    events = [json.loads(text)["event"] for text in listener.of("asd_jax/pump/event")]
    others = [kind for kind in events if kind != "clock_jump"]
    assert others == ["alarm_raised", "alarm_announced", "alarm_cleared"]
    assert events.count("clock_jump") == 5 and state["dropped"] == 0
    assert state["windows"] - windows >= seconds - 3  # windows of a second
    came = [at for at, message in listener.messages if message.topic.endswith("/state")]
    assert np.diff(came).max() < 10.5  # the heartbeat
