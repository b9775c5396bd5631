"""Claims about the file that keeps readings and events."""

import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from asd_jax.monitoring.cases import cases
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, STAGES, Store
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "plant.db") as made:
        yield made


def reading(time, score=1.0, level=-30.0, bands=(-40.0, -50.0)):
    return Reading(time, 10.0, score, 2.0, level, None if bands is None else np.array(bands))


def test_readings_come_back_in_order_and_by_machine(store):
    store.add("pump", reading(NOW + 10, 3.0), reading(NOW, 1.0, None, None))
    store.add("fan", reading(NOW, 9.0))
    found = store.readings("pump")
    assert found.time.tolist() == [NOW, NOW + 10] and found.score.tolist() == [1.0, 3.0]
    assert found.highest.tolist() == [1.0, 3.0] and found.count.tolist() == [1, 1]
    np.testing.assert_array_equal(found.level, [np.nan, -30.0])
    np.testing.assert_array_equal(found.bands, [[np.nan] * 2, [-40.0, -50.0]])
    assert store.readings("pump", NOW, NOW + 10).time.tolist() == [NOW]
    assert store.machines() == ["pump", "fan"] and len(store.readings("unknown").time) == 0


def test_a_reading_of_the_same_time_replaces_the_earlier_one(store):
    store.add("pump", reading(NOW, 1.0))
    store.add("pump", reading(NOW, 5.0))
    assert store.readings("pump").score.tolist() == [5.0]


def test_old_readings_are_merged_and_the_mean_energy_stays(store):
    start = np.floor(NOW / 600) * 600
    with store.transaction():
        for n in range(60):
            store.add("pump", reading(start + 10 * n, float(n), -30.0 if n % 2 else -40.0))
    store.roll_up("pump", start + 600 + STAGES[0][0])
    found = store.readings("pump")
    assert found.time.tolist() == [start] and found.seconds.tolist() == [600.0]
    assert found.count.tolist() == [60] and found.score.tolist() == [29.5]
    assert found.highest.tolist() == [59.0]
    np.testing.assert_allclose(found.level, 10 * np.log10((1e-3 + 1e-4) / 2))
    np.testing.assert_allclose(found.bands, [[-40.0, -50.0]], rtol=1e-6)


def test_readings_that_come_late_join_the_merged_one_of_their_time(store):
    start = np.floor(NOW / 600) * 600
    store.add("pump", reading(start, 1.0), reading(start + 10, 3.0))
    store.roll_up("pump", start + 600 + STAGES[0][0])
    store.add("pump", reading(start + 20, 8.0))
    store.roll_up("pump", start + 600 + STAGES[0][0])
    found = store.readings("pump")
    assert found.count.tolist() == [3] and found.score.tolist() == [4.0]


def test_the_number_of_rows_is_bounded_by_the_stages(store):
    # 410 days of four readings each, of which a month stays as it is, and a year as hours.
    days = 410
    a_day = 4
    for day in range(days):
        times = NOW + DAY * (day + np.arange(a_day) / a_day)
        store.add("pump", *(reading(time, bands=None) for time in times))
    found = store.readings("pump")
    assert found.count.sum() == days * a_day
    expected = np.full(len(found.time), 10.0)
    for age_days, span in ((2, 600), (30, 3600), (400, 86400)):
        # The span in which a reading of this age lies is not over yet.
        expected[found.time < (times[-1] - age_days * 86400) // span * span] = span
    assert found.seconds.tolist() == expected.tolist()
    stages = store.query("SELECT DISTINCT stage FROM readings ORDER BY stage")
    assert [row["stage"] for row in stages] == [0, 1, 2, 3]


def test_old_readings_are_merged_once_an_hour_of_readings(store, monkeypatch):
    merged = []
    monkeypatch.setattr(store, "roll_up", lambda machine, now: merged.append((machine, now)))
    store.add("pump", reading(NOW), reading(NOW - 60))
    for time in (NOW + 3599, NOW + 3600, NOW + 3700, NOW):
        store.add("pump", reading(time))
    store.add("fan", reading(NOW + 3700))
    store.add("press")
    # A clock that was set back by an hour does not put off the next merger.
    expected = [("pump", NOW), ("pump", NOW + 3600), ("pump", NOW), ("fan", NOW + 3700)]
    assert merged == expected and store.machines() == ["pump", "fan"]


def test_the_oldest_events_are_removed(store):
    number = store.number("pump")
    with store.transaction() as do:
        do(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO events (machine, time, kind, message, fields) "
            "SELECT ?, i, 'gap', '', '{}' FROM n",
            (100_005, number),
        )
    store.roll_up("pump", NOW)
    assert [event["id"] for event in store.events()] == list(range(6, 1006))


def test_the_oldest_closed_cases_are_removed_and_no_open_one(store):
    number = store.number("pump")
    with store.transaction() as do:
        do("INSERT INTO cases (machine, raised) VALUES (?, 0)", (number,))
        do(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10003) "
            "INSERT INTO cases (machine, raised, closed) SELECT ?, i, i FROM n",
            (number,),
        )
    store.roll_up("pump", NOW)
    kept = [row["id"] for row in store.query("SELECT id FROM cases ORDER BY id")]
    assert kept == [1, *range(5, 10005)]
    assert [case.id for case in cases(store, only_open=True)] == [1]


def test_the_files_that_were_read_are_known_by_machine(store):
    store.set_read("pump", "monday/a.wav", 5)
    store.set_read("pump", "b.wav", 6)
    store.set_read("pump 2", "c.wav", 7)
    store.set_mark("web", 8)
    assert store.read_files("pump") == {"monday/a.wav": 5, "b.wav": 6}
    store.set_read("pump", "b.wav", 9)
    store.forget_read("pump", ["monday/a.wav", "c.wav"])
    assert store.read_files("pump") == {"b.wav": 9} and store.read_files("pump 2") == {"c.wav": 7}


def test_a_reader_goes_on_after_its_mark(store):
    first = store.event("pump", NOW, "gap", "no sound", seconds=3)
    store.set_mark("mqtt", first)
    second = store.event("pump", NOW + 1, "resumed")
    assert store.mark("web") == 0
    assert store.events(after=0)[0] == {
        "id": first,
        "machine": "pump",
        "time": NOW,
        "event": "gap",
        "message": "no sound",
        "seconds": 3,
    }
    assert [event["id"] for event in store.events(after=store.mark("mqtt"))] == [second]


def test_an_error_within_a_transaction_undoes_all_of_it(store):
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.event("pump", NOW, "gap")
        raise ZeroDivisionError
    assert store.events() == [] and store.machines() == []


def test_a_killed_process_leaves_whole_transactions(tmp_path):
    path = tmp_path / "plant.db"
    program = (
        "import sys, itertools\n"
        "from asd_jax.monitoring.series import Reading\n"
        "from asd_jax.monitoring.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "for n in itertools.count():\n"
        "    with store.transaction():\n"
        "        store.add('pump', Reading(10.0 * n, 10.0, 1.0, 2.0))\n"
        "        store.event('pump', 10.0 * n, 'window')\n"
        "    print(n, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(50):
        written = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    with Store(path, new=False) as store:
        times = store.readings("pump").time
        assert len(times) > written and times.tolist() == [e["time"] for e in store.events()]


def test_a_full_disk_is_reported_and_the_store_works_again_afterwards(store):
    store.add("pump", reading(NOW))
    pages = store.query("PRAGMA page_count")[0][0]
    store.query(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotStored, match="full"), store.transaction():
        for n in range(1000):
            store.event("pump", NOW, "gap", "x" * 100, n=n)
    assert store.events() == []
    store.query("PRAGMA max_page_count = 1000000")
    store.event("pump", NOW, "gap")
    assert len(store.events()) == 1


def test_other_files_are_refused_and_left_as_they_are(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        Store(tmp_path / "missing.db", new=False)
    foreign = tmp_path / "foreign.db"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE mail (id)")
    other.close()
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="another program"):
        Store(foreign)
    assert foreign.read_bytes() == before
    (tmp_path / "note.txt").write_text("not a database, but long enough to look like a file" * 9)
    with pytest.raises(InputError, match="not a whole store"):
        Store(tmp_path / "note.txt")
    newer = tmp_path / "newer.db"
    Store(newer).close()
    other = sqlite3.connect(newer)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(InputError, match="newer version"):
        Store(newer)
