"""The file of a store: whose it is, and what a transaction keeps."""

import sqlite3

import pytest

from asd_jax.monitoring.database import VERSION, Database, NotStored
from asd_jax.runtime.errors import InputError


def names(database):
    return [row["name"] for row in database.query("SELECT name FROM machines")]


def test_an_inner_transaction_is_undone_with_the_outer_one(tmp_path):
    with Database(tmp_path / "plant.db") as database:
        with pytest.raises(ZeroDivisionError), database.transaction() as execute:
            with database.transaction() as inner:
                inner("INSERT INTO machines (name) VALUES ('pump')")
            execute("INSERT INTO machines (name) VALUES ('fan')")
            raise ZeroDivisionError
        assert names(database) == []


def test_what_one_connection_commits_another_reads(tmp_path):
    path = tmp_path / "folder" / "plant.db"
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
