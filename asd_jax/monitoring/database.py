"""The SQLite file of a store: its tables, its transactions and its errors."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from asd_jax.runtime.errors import InputError

VERSION = 1  # of the tables
_Opened = TypeVar("_Opened", bound="Database")
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


class Database:
    """One SQLite file that threads and processes share."""

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
        # The lock is reentrant, because a transaction may contain others. It replaces SQLite's own
        # check of threads.
        self._lock = threading.RLock()
        with self._translated_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Without an isolation level, Python begins no transactions of its own, which could not
            # be nested.
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        """Checks that the file is a store, and makes the tables in a new one."""
        # The file of another program must not be touched, so it is recognised before any PRAGMA
        # that writes.
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if tables and application != _APPLICATION:
            raise InputError(f"{self.path}: a database of another program; name another file")
        if version > VERSION:
            raise InputError(
                f"{self.path}: written by a newer version (tables {version}, known {VERSION}); "
                "update asd_jax"
            )
        # In WAL mode, readers and a writer do not wait for each other. A kill loses nothing that
        # was committed; a power cut may lose the last seconds, but never damages the file.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction() as execute:
            # Another process may have made the tables in the meantime.
            if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, _TABLES.split(";")):
                    execute(statement)
                execute(f"PRAGMA application_id = {_APPLICATION}")
                execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self: _Opened) -> _Opened:
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
        with self._lock, self._translated_errors():
            # SQLite does not nest transactions; inner ones are part of the outermost.
            outermost = not self._connection.in_transaction
            if outermost:
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                # SQLite itself may have ended the transaction, e.g. when the disk is full.
                if outermost and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            if outermost:
                self._commit()

    def _commit(self) -> None:
        """Ends the transaction; one that the disk refuses is undone."""
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def query(self, sql: str, *values) -> list[sqlite3.Row]:
        """Returns the rows of a SELECT.

        Raises:
            NotStored: the file cannot be read.
        """
        with self._lock, self._translated_errors():
            return self._connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Context manager: turns the errors of SQLite and of the disk into InputError."""
        try:
            yield
        # A lock or a full disk may pass, so trying again helps; it does not with a damaged file.
        except sqlite3.OperationalError as error:
            raise NotStored(f"{self.path}: cannot be used as a store ({error})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: not a whole store ({error})") from error
        except OSError as error:
            raise NotStored(f"{self.path}: cannot be used ({error.strerror or error})") from error
        except OverflowError as error:  # a number of 64 bits or more
            raise InputError("a number that no record can have") from error
