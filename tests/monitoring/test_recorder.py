"""Claims about the way of a machine's readings and alarms into the store."""

import numpy as np
import pytest

from asd_jax.monitoring import cases, shelving
from asd_jax.monitoring import recorder as module
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.recorder import Recorder
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store

NOW = 1.8e9
RATE = 16000


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "plant.db") as made:
        yield made


def fill(store):
    pages = store.query("PRAGMA page_count")[0][0]
    store.query(f"PRAGMA max_page_count = {pages}")


def test_a_window_is_recorded_with_its_levels(store):
    wave = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    Recorder(store, "pump").window(NOW, wave, RATE, score=1.0, threshold=2.0)
    found = store.readings("pump")
    kept = (found.time, found.seconds, found.score, found.threshold)
    assert [column.tolist() for column in kept] == [[NOW], [1.0], [1.0], [2.0]]
    assert found.level[0] == pytest.approx(-23.01, abs=0.01)
    assert found.bands.max() == pytest.approx(-23.01, abs=0.01)


def test_events_files_and_a_clock_that_was_set_are_recorded(store):
    recorder = Recorder(store, "pump")
    recorder.event(NOW, "gap", "no sound", seconds=3)
    (event,) = store.events("pump")
    assert (event["time"], event["event"], event["message"]) == (NOW, "gap", "no sound")
    assert event["seconds"] == 3
    recorder.read("a.wav", 5)
    recorder.read("b.wav", 6)
    recorder.forget_read(["a.wav"])
    recorder.forget_read([])
    assert store.read_files("pump") == {"b.wav": 6}
    shelving.shelve(store, "pump", NOW, NOW + 100)
    recorder.raised(Occurrence(NOW, 3.0, 2.0))
    recorder.clock_set(50.0)
    assert recorder.open_case().shelved_until == NOW + 150
    recorder.cleared(NOW + 9, 4.0, seconds=5.0)
    assert store.events()[-1]["message"] == "after 5 s"


def test_an_alarm_is_announced_and_its_end_recorded(store):
    recorder = Recorder(store, "pump")
    recorder.raised(Occurrence(NOW, 3.0, 2.0, "score 3 above 2"))
    assert recorder.tick(NOW) == [{"event": "alarm", "case": 1, "message": "score 3 above 2"}]
    recorder.cleared(NOW + 9, 4.0)
    assert recorder.open_case().cleared == NOW + 9 and recorder.open_case().peak == 4.0


def test_the_last_occurrence_of_this_machine_alone_is_announced(store):
    Recorder(store, "fan").raised(Occurrence(NOW, 3.0, 2.0, "of the fan"))
    recorder = Recorder(store, "pump")
    for n in range(3):
        recorder.raised(Occurrence(NOW + n, 3.0, 2.0, f"occurrence {n}"))
    assert recorder.tick(NOW + 9) == [{"event": "alarm", "case": 2, "message": "occurrence 2"}]


class Refusing(Store):
    """A store that counts what is written, and refuses it."""

    attempts = 0

    def event(self, *_, **__):
        self.attempts += 1
        raise NotStored("full")


def test_a_store_that_refuses_is_tried_again_after_five_seconds(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.clock, "monotonic", lambda: now[0])
    store = Refusing(tmp_path / "plant.db")
    recorder = Recorder(store, "pump")
    tried = []
    for now[0] in (100.0, 100.1, 104.9, 105.0, 109.9, 110.0):
        recorder.event(NOW, "gap")
        tried.append(store.attempts)
    assert tried == [1, 1, 1, 2, 2, 3]


def test_ten_thousand_entries_wait_for_a_store_that_refuses(tmp_path):
    recorder = Recorder(Refusing(tmp_path / "plant.db"), "pump")
    for _ in range(10_003):
        recorder.event(NOW, "gap")
    assert recorder.unwritten == 10_000 and recorder.lost == 3


def test_a_store_that_cannot_be_read_has_no_open_case_and_is_reported(store, monkeypatch):
    def refuse(*_, **__):
        raise NotStored("locked")

    recorder = Recorder(store, "pump")
    recorder.raised(Occurrence(NOW, 3.0, 2.0))
    with monkeypatch.context() as patch:
        patch.setattr(cases, "announce_due", refuse)
        patch.setattr(cases, "open_case", refuse)
        assert recorder.tick(NOW) == [] and recorder.open_case() is None
        assert recorder.tick(NOW) == [{"event": "not_recorded", "message": "locked"}]
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    assert [line["event"] for line in recorder.tick(NOW)] == ["recorded_again", "alarm"]


def test_the_trend_is_looked_at_once_a_day_whichever_way_the_clock_is_set(store, monkeypatch):
    looks = []
    monkeypatch.setattr(module, "reported_trend", lambda store, machine, now: looks.append(now))
    recorder = Recorder(store, "pump")
    for time in (NOW, NOW + 86399, NOW + 86400, NOW + 90000, NOW - 86400):
        recorder.tick(time)
    assert looks == [NOW, NOW + 86400, NOW - 86400]


def test_an_alarm_of_a_quiet_hour_is_announced_later(store):
    hour = int(NOW // 60)
    quiet = QuietHours.parse("00:00-23:59")
    recorder = Recorder(store, "pump", quiet=quiet)
    recorder.raised(Occurrence(NOW, 3.0, 2.0))
    minutes = [60.0 * (hour + n) for n in range(1440)]
    announced = [time for time in minutes if recorder.tick(time)]
    assert len(announced) == 1 and not quiet.at(announced[0])


def test_what_a_full_disk_refuses_is_written_later_in_order(store, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    recorder = Recorder(store, "pump")
    recorder.event(NOW, "start")
    fill(store)
    for n in range(200):
        recorder.event(NOW + n, "gap", "x" * 100, n=n)
    (line,) = recorder.tick(NOW)
    assert line["event"] == "not_recorded" and "full" in line["message"]
    assert recorder.tick(NOW) == [] and recorder.unwritten > 0
    store.query("PRAGMA max_page_count = 1000000")
    (line,) = recorder.tick(NOW)
    assert line["event"] == "recorded_again" and "nothing was lost" in line["message"]
    assert recorder.tick(NOW) == []
    assert [event.get("n") for event in store.events()] == [None, *range(200)]


def test_a_disk_that_stays_full_costs_bounded_memory_and_says_what_was_lost(store, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    recorder = Recorder(store, "pump")
    recorder.event(NOW, "start")
    fill(store)
    for n in range(300):
        recorder.event(NOW, "gap", "x" * 100, n=n)
    assert recorder.unwritten == 20 and recorder.tick(NOW)[0]["event"] == "not_recorded"
    store.query("PRAGMA max_page_count = 1000000")
    lost = recorder.lost
    (line,) = recorder.tick(NOW)
    assert f"{lost} entries were lost" in line["message"]
    written = [event["n"] for event in store.events() if "n" in event]
    assert len(written) + lost == 300 and written[-1] == 299
    # The next failure is told, too, and counts anew.
    fill(store)
    for n in range(15):
        recorder.event(NOW, "gap", "x" * 1000, n=n)
    assert 0 < recorder.unwritten < 20
    assert [line["event"] for line in recorder.tick(NOW)] == ["not_recorded"]
    store.query("PRAGMA max_page_count = 1000000")
    (line,) = recorder.tick(NOW)
    assert line["event"] == "recorded_again" and "nothing was lost" in line["message"]


def test_a_rising_score_is_reported_once_a_week(store):
    with store.transaction():
        for n in range(30):
            store.add("pump", Reading(NOW + DAY * n, 10.0, 0.02 * n, 1.0))
    recorder = Recorder(store, "pump")
    end = NOW + 30 * DAY
    (line,) = recorder.tick(end)
    assert line["event"] == "trend" and "rising since" in line["message"]
    assert recorder.tick(end + 6.9 * DAY) == []
    assert len(recorder.tick(end + 7.9 * DAY)) == 1
