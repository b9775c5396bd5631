"""Keeps what machines did over months in one SQLite file: readings, events and alarm cases.

    with Store("plant.db") as store:
        store.add("pump 3", Reading(time, 10.0, score, threshold, level, bands))
        series = store.readings("pump 3", since=time - 30 * DAY)
        store.event("pump 3", time, "gap", "no sound is coming")
        for event in store.events(after=store.mark("mqtt")):
            publish(event)
            store.set_mark("mqtt", event["id"])

Several threads may share a Store, and several processes a file. All times are Unix time in seconds.
A write is a transaction: after a kill it is there as a whole or not at all. The size is bounded:
old readings are merged into longer ones (`STAGES`), and the oldest events and closed cases are
removed. The alarm cases are in cases.py.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from asd_jax.monitoring.database import Database
from asd_jax.monitoring.series import Reading, Series, merged, series_of

DAY = 86400.0
# (age in seconds from which readings are merged, seconds that a merged reading covers). For windows
# of 10 s this keeps about 30,000 readings of a machine, 6 MB, and 365 more a year.
STAGES = ((2 * DAY, 600.0), (30 * DAY, 3600.0), (400 * DAY, DAY))
MOST_EVENTS = 100_000  # of each machine
MOST_CASES = 10_000  # closed ones of each machine
_ROLL_UP_EVERY = 3600.0  # seconds of readings between two mergers


class Store(Database):
    """The readings, events and cases of any number of machines."""

    def __init__(self, path: str | Path, *, new: bool = True):
        """Opens the file; arguments and errors as for `Database`."""
        super().__init__(path, new=new)
        self._rolled_up: dict[str, float] = {}

    def machines(self) -> list[str]:
        """Returns the names of the machines, in the order in which they were added."""
        return [row["name"] for row in self.query("SELECT name FROM machines ORDER BY id")]

    def number(self, machine: str) -> int:
        """Returns the number of a machine in the tables; a new machine gets one."""
        with self.transaction() as execute:
            # Two processes may meet a new machine at once.
            execute("INSERT OR IGNORE INTO machines (name) VALUES (?)", (machine,))
            return execute("SELECT id FROM machines WHERE name = ?", (machine,)).fetchone()[0]

    def add(self, machine: str, *readings: Reading) -> None:
        """Adds readings of a machine; one of the same time replaces the earlier one.

        Once an hour of readings, old ones are merged.

        Raises:
            NotStored: the file cannot be written; nothing was added.
        """
        if not readings:
            return
        with self.transaction() as execute:
            number = self.number(machine)
            for reading in readings:
                execute(
                    "INSERT OR REPLACE INTO readings VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, reading.time, *_values(reading)),
                )
            # Age is measured by the readings, not by the clock, because recordings may be of last
            # year.
            latest = max(reading.time for reading in readings)
            # A clock that was set back must not postpone the next merger.
            if abs(latest - self._rolled_up.get(machine, -np.inf)) >= _ROLL_UP_EVERY:
                # Merging is part of the transaction, so that a reading never counts both alone and
                # merged.
                self.roll_up(machine, latest)
                self._rolled_up[machine] = latest

    def readings(self, machine: str, since: float = -np.inf, until: float = np.inf) -> Series:
        """Returns the readings of a machine whose start is in [since, until), old ones merged."""
        rows = self.query(
            "SELECT r.* FROM readings r JOIN machines m ON m.id = r.machine "
            "WHERE m.name = ? AND time >= ? AND time < ? ORDER BY time",
            machine,
            _finite(since),
            _finite(until),
        )
        return series_of(rows)

    def roll_up(self, machine: str, now: float) -> None:
        """Merges readings of a machine by age (`STAGES`); removes its oldest events and cases."""
        with self.transaction() as execute:
            number = self.number(machine)
            for stage, (age, span) in enumerate(STAGES, 1):
                # Only spans that are over are merged, so a merged reading never changes again.
                before = float(np.floor((now - age) / span) * span)
                rows = execute(
                    "SELECT * FROM readings WHERE machine = ? AND stage < ? AND time < ? "
                    "ORDER BY time",
                    (number, stage, before),
                ).fetchall()
                self._merge(execute, number, stage, span, rows)
                execute(
                    "DELETE FROM readings WHERE machine = ? AND stage < ? AND time < ?",
                    (number, stage, before),
                )
            _remove_oldest(execute, "events", "TRUE", number, MOST_EVENTS)
            _remove_oldest(execute, "cases", "closed IS NOT NULL", number, MOST_CASES)

    def _merge(
        self, execute: Callable, number: int, stage: int, span: float, rows: Sequence
    ) -> None:
        """Merges readings into those of a stage that cover `span` seconds each."""
        groups: dict[float, list] = {}
        for row in rows:
            groups.setdefault(float(np.floor(row["time"] / span) * span), []).append(row)
        for start, group in groups.items():
            # Readings that come late join the merged one of their time.
            kept = execute(
                "SELECT * FROM readings WHERE machine = ? AND stage = ? AND time = ?",
                (number, stage, start),
            ).fetchall()
            values = merged(series_of([*kept, *group]))
            execute(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, stage, start, span, *values),
            )

    def event(self, machine: str, time: float, kind: str, message: str = "", **fields) -> int:
        """Adds an event and returns its id; ids only grow.

        Args:
            machine: name of the machine.
            time: when it happened.
            kind: kind of the event, e.g. "gap", "alarm_raised".
            message: description in words.
            fields: further values that JSON can hold.

        Raises:
            NotStored: the file cannot be written.
        """
        with self.transaction() as execute:
            values = (self.number(machine), time, kind, message, json.dumps(fields))
            return execute(
                "INSERT INTO events (machine, time, kind, message, fields) VALUES (?, ?, ?, ?, ?)",
                values,
            ).lastrowid

    def events(self, machine: str | None = None, *, after: int = 0, most: int = 1000) -> list[dict]:
        """Returns up to `most` events with an id above `after`, oldest first.

        Each is {"id", "machine", "time", "event", "message", and its further fields}.
        """
        rows = self.query(
            "SELECT e.*, m.name FROM events e JOIN machines m ON m.id = e.machine "
            "WHERE e.id > ? AND (? IS NULL OR m.name = ?) ORDER BY e.id LIMIT ?",
            after,
            machine,
            machine,
            most,
        )
        return [
            {
                "id": row["id"],
                "machine": row["name"],
                "time": row["time"],
                "event": row["kind"],
                "message": row["message"],
                **json.loads(row["fields"]),
            }
            for row in rows
        ]

    def mark(self, name: str) -> int:
        """Returns the id of the last event that a reader of this name has handled; 0 at first."""
        rows = self.query("SELECT event FROM marks WHERE name = ?", name)
        return rows[0]["event"] if rows else 0

    def set_mark(self, name: str, event: int) -> None:
        """Records that a reader has handled all events up to this id."""
        with self.transaction() as execute:
            execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, event))

    def read_files(self, machine: str) -> dict[str, int]:
        """Returns {name: time of change in us} of the recordings of a machine that were read."""
        # Marks of files and of receivers share a table; the beginning of the name tells them apart.
        first = _file_mark(machine, "")
        rows = self.query("SELECT * FROM marks WHERE substr(name, 1, ?) = ?", len(first), first)
        return {row["name"][len(first) :]: row["event"] for row in rows}

    def set_read(self, machine: str, file: str, changed_us: int) -> None:
        """Records that a recording was read, and the time of its last change in microseconds."""
        self.set_mark(_file_mark(machine, file), changed_us)

    def forget_read(self, machine: str, files: Iterable[str]) -> None:
        """Removes what is known of recordings, which are there no longer."""
        with self.transaction() as execute:
            for file in files:
                execute("DELETE FROM marks WHERE name = ?", (_file_mark(machine, file),))


def _values(reading: Reading) -> tuple:
    """Returns the columns of a reading of one window, from its seconds on."""
    # Four bytes for each band are exact to 0.00001 dB, and half the size of floats.
    bands = None if reading.bands is None else np.asarray(reading.bands, "<f4").tobytes()
    score = reading.score
    return (reading.seconds, 1, score, score, reading.threshold, reading.level, bands)


def _remove_oldest(execute: Callable, table: str, removable: str, number: int, most: int) -> None:
    """Removes the removable rows of a machine that are older than its `most` latest ones."""
    execute(
        f"DELETE FROM {table} WHERE machine = ? AND {removable} AND id <= (SELECT id FROM {table} "
        "WHERE machine = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (number, number, most),
    )


def _file_mark(machine: str, file: str) -> str:
    """Returns the name of the mark that a recording was read."""
    return f"file/{machine}/{file}"


def _finite(time: float) -> float:
    """Returns a time that SQLite compares, in place of an infinite one."""
    return float(np.clip(time, -1e300, 1e300))
