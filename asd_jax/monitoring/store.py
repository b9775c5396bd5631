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

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from asd_jax.monitoring.series import Reading, Series, merged, series_of
from asd_jax.runtime.errors import InputError

VERSION = 1  # of the tables
DAY = 86400.0
# (age in seconds from which readings are merged, seconds that a merged reading covers). For windows
# of 10 s this keeps about 30,000 readings of a machine, 6 MB, and 365 more a year.
STAGES = ((2 * DAY, 600.0), (30 * DAY, 3600.0), (400 * DAY, DAY))
MOST_EVENTS = 100_000  # of each machine
MOST_CASES = 10_000  # closed ones of each machine
_ROLL_UP_EVERY = 3600.0  # seconds of readings between two mergers
_APPLICATION = 0x61736461  # "asda", which tells the file from other programs' SQLite files
_WAIT_SECONDS = 10.0  # for a lock that another process holds
_TABLES = """
CREATE TABLE machines (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    shelved_until REAL,
    shelved_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE readings (
    machine INTEGER NOT NULL REFERENCES machines,
    stage INTEGER NOT NULL,
    time REAL NOT NULL,
    seconds REAL NOT NULL,
    count INTEGER NOT NULL,
    score REAL NOT NULL,
    highest REAL NOT NULL,
    threshold REAL NOT NULL,
    level REAL,
    bands BLOB,
    PRIMARY KEY (machine, stage, time)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine INTEGER NOT NULL REFERENCES machines,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_machine ON events (machine, id);
CREATE TABLE marks (name TEXT PRIMARY KEY, event INTEGER NOT NULL) STRICT;
CREATE TABLE cases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine INTEGER NOT NULL REFERENCES machines,
    raised REAL NOT NULL,
    cleared REAL,
    acknowledged REAL,
    acknowledged_by TEXT NOT NULL DEFAULT '',
    announced REAL,
    closed REAL,
    note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX one_open_case ON cases (machine) WHERE closed IS NULL;
CREATE TABLE occurrences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE,
    started REAL NOT NULL,
    ended REAL,
    peak REAL NOT NULL,
    threshold REAL NOT NULL,
    message TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX occurrences_of_case ON occurrences (case_id);
"""


class NotStored(InputError):
    """The store cannot be written or read now: full disk, lock, permissions. Trying again helps."""


class Store:
    """One SQLite file for the readings, events and cases of any number of machines."""

    def __init__(self, path: str | Path, *, new: bool = True):
        """Opens the file, and makes it if it does not exist and `new` is true.

        Raises:
            InputError: the file is of another program or of a newer version, or does not exist and
                `new` is false.
            NotStored: it cannot be opened.
        """
        self.path = Path(path)
        if not new and not self.path.is_file():
            raise InputError(
                f"{path}: no such store; python -m asd_jax.detect watch --store={path} makes one"
            )
        self._lock = threading.RLock()
        self._rolled_up: dict[str, float] = {}
        with self._refused():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._open.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._open.close()
                raise

    def _prepare(self) -> None:
        # The file of another program must not be touched, so it is recognised before any PRAGMA
        # that writes.
        tables = self._open.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        (application,) = self._open.execute("PRAGMA application_id").fetchone()
        (version,) = self._open.execute("PRAGMA user_version").fetchone()
        if tables and application != _APPLICATION:
            raise InputError(f"{self.path}: a database of another program; name another file")
        if version > VERSION:
            raise InputError(
                f"{self.path}: written by a newer version (tables {version}, known {VERSION}); "
                "update asd_jax"
            )
        # In WAL mode, readers and a writer do not wait for each other. A kill loses nothing that
        # was committed; a power cut may lose the last seconds, but never damages the file.
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = NORMAL")
        self._open.execute("PRAGMA foreign_keys = ON")
        with self.transaction() as do:
            # Another process may have made the tables in the meantime.
            if not do("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, _TABLES.split(";")):
                    do(statement)
                do(f"PRAGMA application_id = {_APPLICATION}")
                do(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._open.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator:
        """Context manager: yields a function that executes SQL; all of it is kept, or nothing.

        A transaction inside another is part of it.

        Raises:
            NotStored: the file cannot be written or read.
        """
        with self._lock, self._refused():
            outermost = not self._open.in_transaction
            if outermost:
                self._open.execute("BEGIN IMMEDIATE")
            try:
                yield self._open.execute
            except BaseException:
                # SQLite itself may have ended the transaction, e.g. when the disk is full.
                if outermost and self._open.in_transaction:
                    self._open.execute("ROLLBACK")
                raise
            if outermost:
                self._committed()

    def _committed(self) -> None:
        try:
            self._open.execute("COMMIT")
        except sqlite3.Error:
            if self._open.in_transaction:
                self._open.execute("ROLLBACK")
            raise

    def query(self, sql: str, *values) -> list[sqlite3.Row]:
        """Returns the rows of a SELECT.

        Raises:
            NotStored: the file cannot be read.
        """
        with self._lock, self._refused():
            return self._open.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise NotStored(f"{self.path}: cannot be used as a store ({error})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: not a whole store ({error})") from error
        except OSError as error:
            raise NotStored(f"{self.path}: cannot be used ({error.strerror or error})") from error
        except OverflowError as error:  # a number of 64 bits or more
            raise InputError("a number that no record can have") from error

    def machines(self) -> list[str]:
        """Returns the names of the machines, in the order in which they came."""
        return [row["name"] for row in self.query("SELECT name FROM machines ORDER BY id")]

    def number(self, machine: str) -> int:
        """Returns the number of a machine in the tables; a new machine gets one."""
        with self.transaction() as do:
            do("INSERT OR IGNORE INTO machines (name) VALUES (?)", (machine,))
            return do("SELECT id FROM machines WHERE name = ?", (machine,)).fetchone()[0]

    def add(self, machine: str, *readings: Reading) -> None:
        """Adds readings of a machine; one of the same time replaces the earlier one.

        Once an hour of readings, old ones are merged.

        Raises:
            NotStored: the file cannot be written; nothing was added.
        """
        if not readings:
            return
        with self.transaction() as do:
            number = self.number(machine)
            for one in readings:
                bands = None if one.bands is None else np.asarray(one.bands, "<f4").tobytes()
                values = (one.seconds, 1, one.score, one.score, one.threshold, one.level, bands)
                do(
                    "INSERT OR REPLACE INTO readings VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, one.time, *values),
                )
            latest = max(one.time for one in readings)
            # A clock that was set back must not postpone the next merger.
            if abs(latest - self._rolled_up.get(machine, -np.inf)) >= _ROLL_UP_EVERY:
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
        with self.transaction() as do:
            number = self.number(machine)
            for stage, (age, span) in enumerate(STAGES, 1):
                # Only spans that are over are merged, so a merged reading never changes again.
                before = float(np.floor((now - age) / span) * span)
                rows = do(
                    "SELECT * FROM readings WHERE machine = ? AND stage < ? AND time < ? "
                    "ORDER BY time",
                    (number, stage, before),
                ).fetchall()
                self._merge(do, number, stage, span, rows)
                do(
                    "DELETE FROM readings WHERE machine = ? AND stage < ? AND time < ?",
                    (number, stage, before),
                )
            do(
                "DELETE FROM events WHERE machine = ? AND id <= (SELECT id FROM events "
                "WHERE machine = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (number, number, MOST_EVENTS),
            )
            do(
                "DELETE FROM cases WHERE machine = ? AND closed IS NOT NULL AND id <= (SELECT id "
                "FROM cases WHERE machine = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (number, number, MOST_CASES),
            )

    def _merge(self, do, number: int, stage: int, span: float, rows: Sequence) -> None:
        groups: dict[float, list] = {}
        for row in rows:
            groups.setdefault(float(np.floor(row["time"] / span) * span), []).append(row)
        for start, group in groups.items():
            kept = do(
                "SELECT * FROM readings WHERE machine = ? AND stage = ? AND time = ?",
                (number, stage, start),
            ).fetchall()
            values = merged(series_of([*kept, *group]))
            do(
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
        with self.transaction() as do:
            values = (self.number(machine), time, kind, message, json.dumps(fields))
            return do(
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
        with self.transaction() as do:
            do("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, event))

    def read_files(self, machine: str) -> dict[str, int]:
        """Returns {name: time of change in us} of the recordings of a machine that were read."""
        first = _file_mark(machine, "")
        rows = self.query("SELECT * FROM marks WHERE substr(name, 1, ?) = ?", len(first), first)
        return {row["name"][len(first) :]: row["event"] for row in rows}

    def set_read(self, machine: str, file: str, changed_us: int) -> None:
        """Records that a recording was read, and the time of its last change in microseconds."""
        self.set_mark(_file_mark(machine, file), changed_us)

    def forget_read(self, machine: str, files: Iterable[str]) -> None:
        """Removes what is known of recordings, which are there no longer."""
        with self.transaction() as do:
            for file in files:
                do("DELETE FROM marks WHERE name = ?", (_file_mark(machine, file),))


def _file_mark(machine: str, file: str) -> str:
    return f"file/{machine}/{file}"


def _finite(time: float) -> float:
    return float(np.clip(time, -1e300, 1e300))
