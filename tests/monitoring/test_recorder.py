"""Claims about the way of a machine's readings and alarms into the store."""

import numpy as np
import pytest

from asd_jax.monitoring import recorder as module
from asd_jax.monitoring.cases import Occurrence
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
    assert found.level[0] == pytest.approx(-23.01, abs=0.01) and found.seconds[0] == 1.0


def test_an_alarm_is_announced_and_its_end_recorded(store):
    recorder = Recorder(store, "pump")
    recorder.raised(Occurrence(NOW, 3.0, 2.0, "score 3 above 2"))
    assert recorder.tick(NOW) == [{"event": "alarm", "case": 1, "message": "score 3 above 2"}]
    recorder.cleared(NOW + 9, 4.0)
    assert recorder.open_case().cleared == NOW + 9


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
