"""Lives that each end inside a write: the kernel kills a process whose file grows beyond a limit.

    python dies_at_a_write.py FILE     prints the number of lives that were killed

Each life records windows and alarms and delivers the events, as the service does. It reports what
it has finished through a pipe. Between two lives the file must be sound and hold all of that.
"""

import os
import resource
import signal
import sqlite3
import sys

from asd_jax.monitoring.cases import Occurrence, acknowledge, announce_due, clear_case, raise_case
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import Store
from asd_jax.service.delivery import Delivery


def live(path, first, report):
    """Records from the window number `first` on; reports each when it has been recorded."""
    with Store(path) as store:
        store.query("PRAGMA wal_autocheckpoint = 20")

        def send(event, stop):
            report("event", event["id"])
            return True

        delivery = Delivery("receiver", store, send)
        for number in range(first, first + 40):
            time = 10.0 * number
            store.add("pump", Reading(time, 10.0, 1.0, 2.0))
            if number % 4 == 0:
                raise_case(store, "pump", Occurrence(time, 3.0, 2.0, "x" * 300))
            elif number % 4 == 1:
                announce_due(store, time)
            elif number % 4 == 2:
                case = clear_case(store, "pump", time, 3.0)
                if case is not None and case.acknowledged is None:
                    acknowledge(store, case.id, time, "Ann")
            delivery.deliver()
            report("window", number)


def killed(path, limit, first):
    """Returns (whether a life was killed, its reports)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and gets an error
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        live(path, first, lambda *line: os.write(writing, "{} {}\n".format(*line).encode()))
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        reports = [line.split() for line in pipe]
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGXFSZ, status
    return status != 0, [(kind, int(number)) for kind, number in reports]


def check_changes(store):
    """Each change of a case is there as a whole: in its tables, and as an event."""

    def count(sql):
        return store.query(f"SELECT count(*) AS count FROM {sql}")[0]["count"]

    assert count("cases WHERE id NOT IN (SELECT case_id FROM occurrences)") == 0
    for kind, sql in (
        ("alarm_raised", "occurrences"),
        ("alarm_announced", "cases WHERE announced IS NOT NULL"),
        ("alarm_acknowledged", "cases WHERE acknowledged IS NOT NULL"),
        ("alarm_closed", "cases WHERE closed IS NOT NULL"),
    ):
        assert count(f"events WHERE kind = '{kind}'") == count(sql), kind


def main(path):
    kills = 0
    windows = [-1]
    events = []
    with Store(path):
        pass
    for limit in range(4096, 200_000, 3067):
        died, reports = killed(path, limit, windows[-1] + 1)
        kills += died
        windows += [number for kind, number in reports if kind == "window"]
        events += [number for kind, number in reports if kind == "event"]
        with sqlite3.connect(path) as opened:
            assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        opened.close()
        with Store(path) as store:
            assert len(store.readings("pump").time) >= len(windows) - 1
            mark = store.mark("receiver")
            assert len(store.query("SELECT 1 FROM cases WHERE closed IS NULL")) <= 1
            check_changes(store)
        assert not events or events[-1] - mark in (0, 1)
    assert windows == list(range(-1, windows[-1] + 1))
    # No event is lost, all are in order, and only a kill makes one come again.
    once = [n for n, before in zip(events, [0, *events], strict=False) if n != before]
    assert once == list(range(1, events[-1] + 1)) and len(events) - len(once) <= kills
    print(kills, len(windows), len(once))


main(sys.argv[1])
