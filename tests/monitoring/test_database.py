"""The file of a store: whose it is, and what a transaction keeps."""

import contextlib
import os
import sqlite3
import threading

import pytest

from asd_jax.monitoring.database import VERSION, Database, NotStored
from asd_jax.runtime.errors import InputError


def names(database):
    return [row["name"] for row in database.query("SELECT name FROM machines")]


def is_open(path):
    """Returns whether this process holds a file open."""
    file = os.stat(path)
    for number in range(256):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(number), file):
                return True
    return False


def test_an_inner_transaction_is_undone_with_the_outer_one(tmp_path):
    with Database(tmp_path / "plant.db") as database:
        with pytest.raises(ZeroDivisionError), database.transaction() as execute:
            with database.transaction() as inner:
                inner("INSERT INTO machines (name) VALUES ('pump')")
            execute("INSERT INTO machines (name) VALUES ('fan')")
            raise ZeroDivisionError
        assert names(database) == []


def test_what_one_connection_commits_another_reads(tmp_path):
    path = tmp_path / "plant" / "hall" / "plant.db"
    with Database(path) as database, Database(path, new=False) as other:
        with database.transaction() as execute:
            execute("INSERT INTO machines (name) VALUES ('pump')")
            assert names(other) == []
        assert names(other) == ["pump"]


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "plant.db"
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(InputError, match=f"tables {VERSION + 1}, known {VERSION}"):
        Database(path)


def test_a_store_that_cannot_be_opened_may_be_tried_again(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotStored, match="cannot be used"):
        Database(tmp_path / "file" / "plant.db")


def test_an_inner_transaction_that_fails_leaves_the_outer_one_to_go_on(tmp_path):
    path = tmp_path / "plant.db"
    with Database(path) as database:
        with database.transaction() as execute:
            execute("INSERT INTO machines (name) VALUES ('pump')")
            with contextlib.suppress(ZeroDivisionError), database.transaction():
                raise ZeroDivisionError
        with Database(path, new=False) as other:
            assert names(other) == ["pump"]


def test_what_cannot_be_committed_is_undone_and_the_next_transaction_is_kept(tmp_path):
    path = tmp_path / "plant.db"
    with Database(path) as database:
        with pytest.raises(InputError, match="FOREIGN KEY"), database.transaction() as execute:
            execute("PRAGMA defer_foreign_keys = ON")
            execute("INSERT INTO cases (machine, raised) VALUES (99, 0)")
        with database.transaction() as execute:
            execute("INSERT INTO machines (name) VALUES ('pump')")
        with Database(path, new=False) as other:
            assert names(other) == ["pump"] and other.query("SELECT * FROM cases") == []


def test_another_thread_reads_what_one_wrote(tmp_path):
    with Database(tmp_path / "plant.db") as database:
        found = []
        thread = threading.Thread(target=lambda: found.append(names(database)))
        thread.start()
        thread.join()
        assert found == [[]]


def test_a_file_is_recognised_by_other_versions_and_shared_with_other_processes(tmp_path):
    """Readers do not wait for a writer (WAL), and a lock is waited for 10 s."""
    settings = ("application_id", "user_version", "busy_timeout", "journal_mode", "synchronous")
    with Database(tmp_path / "plant.db") as database:
        found = [database.query(f"PRAGMA {name}")[0][0] for name in settings]
        assert found == [int.from_bytes(b"asda"), 1, 10_000, "wal", 1]


def test_no_file_stays_open_whether_it_was_used_or_refused(tmp_path):
    path = tmp_path / "plant.db"
    with Database(path):
        assert is_open(path)
    assert not is_open(path)
    path.write_text("not a database, but long enough to look like a file" * 9)
    with pytest.raises(InputError) as refused:
        Database(path)
    assert refused.traceback and not is_open(path)
