"""The lock of a folder: one process at a time, and nobody else's file is followed or emptied."""

import errno
import os

import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import InUse, lock_folder


def put(path, what):
    """Something of the user's in the place of a file of ours; what must stay as it is."""
    mine = path.parent / "mine"
    mine.write_text("precious")
    if what == "link":
        path.symlink_to("mine")
    elif what == "hard link":
        os.link(mine, path)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("my own lock")
    return mine


@pytest.mark.parametrize("what", ["link", "hard link", "folder", "pipe", "file"])
def test_what_stands_in_the_locks_place_is_neither_followed_nor_emptied(tmp_path, what):
    mine = put(tmp_path / ".lock", what)
    with pytest.raises(InputError, match="\\.lock is not ours"), lock_folder(tmp_path):
        raise AssertionError
    assert mine.read_text() == "precious" and os.path.lexists(tmp_path / ".lock")
    assert what != "file" or (tmp_path / ".lock").read_text() == "my own lock"


LEFT = ["", "proc", "process 12", "process 12 o", "process 12 on ho", "process 1 on a-host\n"]


@pytest.mark.parametrize("left", LEFT)
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, left):
    (tmp_path / ".lock").write_text(left)
    with lock_folder(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock").exists()


def test_a_second_owner_is_refused_and_told_the_first_and_the_flag(tmp_path):
    with lock_folder(tmp_path):
        refused = rf"is in use by process {os.getpid()} on .* or use another --output$"
        with pytest.raises(InUse, match=refused), lock_folder(tmp_path, "--output"):
            raise AssertionError
    with lock_folder(tmp_path):
        pass


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyError), lock_folder(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_lock_is_one_message_and_leaves_no_lock(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with (
        pytest.raises(InputError, match=r"no folder to write to \(No space"),
        lock_folder(tmp_path),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_removed_ends_nothing(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch, lock_folder(tmp_path):
        patch.setattr("pathlib.Path.unlink", denied)
    with lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
