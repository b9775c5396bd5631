"""Ensures that only one process at a time works in a folder."""

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import folder_in_use, unwritable_folder
from asd_jax.runtime.log import print_line

# The only content that a lock file may have, or a part of it that a killed process wrote.
_START = "process "
_OWNER = re.compile(rf"{_START}(\d+( (o(n( .*\n?)?)?)?)?)?")


class InUse(InputError):
    """Another process works in the folder."""


@contextlib.contextmanager
def lock_folder(folder: Path, flag: str = "--workdir") -> Iterator[None]:
    """Context manager: no other process works in the folder inside the block.

    The operating system releases the lock of a process that was killed.

    Args:
        folder: created if it does not exist.
        flag: the command-line flag that named the folder, for messages.

    Raises:
        InUse: another process, which the message names, works there.
        InputError: the folder cannot be created, or something that this project did not make stands
            in the lock's place.
    """
    path = folder / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_in_use(folder))
            file = stack.enter_context(_open_lock(path))
        except OSError as error:
            raise unwritable_folder(folder, error) from error
        if not _acquire(file, path):
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise InUse(
                f"{folder} is in use by {owner}: wait for it, stop it, or use another {flag}"
            )
        stack.callback(_remove, path)
        try:
            # Other processes show the owner in their messages. Nothing is buffered, as closing the
            # file would try to write it again.
            os.ftruncate(file.fileno(), 0)
            owner = f"{_START}{os.getpid()} on {socket.gethostname()}\n"
            os.write(file.fileno(), owner.encode())
        except OSError as error:
            raise unwritable_folder(folder, error) from error
        yield


def _remove(path: Path) -> None:
    # A lock file that stays is taken over by the next process.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _acquire(file: TextIO, path: Path) -> bool:
    """Returns whether this process now holds the lock of an open lock file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the files differ, the last owner has just removed the lock file.
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        print_line(
            f"WARNING: {path.parent}: no locks on this file system ({error.strerror}); start no "
            "second run here"
        )
        return True


def _open_lock(path: Path) -> TextIO:
    """Returns the opened lock file.

    Raises:
        OSError: the path is a link, a second name of another file, or a file with foreign content.
    """
    foreign = OSError(errno.EEXIST, f"{path} is not ours: move it away, or use another folder")
    try:
        # O_NOFOLLOW refuses a link, and O_NONBLOCK does not wait at a pipe.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        number = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise foreign from error
    status = os.fstat(number)
    # A file with several names may belong to someone else, and writing would damage it.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(number)
        raise foreign
    # Appending: the owner's line is read before this process writes its own.
    file = open(number, "a+", errors="replace")
    file.seek(0)
    content = file.read(1000)
    if not (_START.startswith(content) or _OWNER.fullmatch(content)):
        file.close()
        raise foreign
    return file
