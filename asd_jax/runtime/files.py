"""Writes every output file atomically, reads JSON files and computes checksums."""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.json_text import LARGEST, parse_json

READER_SECONDS = 5  # how long to wait for a reader of a named pipe
_PART = re.compile(r"\.asd_jax_[0-9a-f]{16}\.part")  # matches only names that atomic_file makes
_IN_MEMORY = 1 << 24  # bytes for a device or a pipe that are held in memory rather than on disk
_KEPT = ("results.json", "checkpoints/*")  # results that took time to compute


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Context manager: yields a binary file that appears under its name only when it is complete.

    Missing folders are created. Until the file is complete, its content is in a file beside the
    target with a unique name. A symbolic link stays, and its target is written. A device, a named
    pipe or the file that this process prints to is written directly, at the end of the block. Of
    several processes, only the first one writes; in the others the content is discarded.

        with atomic_file("results.json") as file:
            file.write(content)

    Raises:
        InputError: the path cannot be written, the disk is full or the pipe has no reader.
    """
    if not processes.is_first():
        yield io.BytesIO()
        return
    with _refused(path):
        if _is_stream(path):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as content:
                yield content  # pyright: ignore[reportReturnType] has all that a BinaryIO has
                content.seek(0)
                with _stream(path) as stream:
                    shutil.copyfileobj(content, stream)
            return
        target = Path(os.path.realpath(path))
        with _part_of(target) as file:
            yield file
            file.flush()
            # Without fsync, a power cut may leave the name without the content.
            os.fsync(file.fileno())
            os.replace(file.name, target)


def check_output(path: str | Path) -> None:
    """Checks that `atomic_file` can write to the path, before anything is computed.

    Raises:
        InputError: as for `atomic_file`.
    """
    with _refused(path):
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder; name a file in it")
        if not _is_stream(path):
            with _part_of(Path(os.path.realpath(path))):
                return
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextlib.contextmanager
def _refused(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _is_stream(path: str | Path) -> bool:
    """Returns whether the path must be written in place rather than replaced by a new file.

    This is so for anything that is not a regular file, and for a file that this process prints to.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(status.st_mode) or _own(status) is not None


def _own(status: os.stat_result) -> int | None:
    """Returns 1 or 2 if the file is this process's standard output or standard error, else None."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(status, os.fstat(number)):
                return number
    return None


def _stream(path: str | Path) -> BinaryIO:
    """Returns the existing file, device or pipe, opened for writing."""
    if (own := _own(os.stat(path))) is not None:
        # Output that is still buffered must come before the content.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return open(os.dup(own), "wb")
    # The reader of a pipe may be starting at the same moment.
    until = time.monotonic() + READER_SECONDS
    while True:
        # Without O_NONBLOCK, opening a pipe that has no reader blocks forever.
        try:
            number = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise OSError(errno.ENXIO, "nobody reads there") from error
            time.sleep(0.1)
        else:
            os.set_blocking(number, True)
            return open(number, "wb")


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[BinaryIO]:
    """Context manager: yields a new file beside the target, with the target's permissions.

    The file is removed at the end unless it was renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    exists = target.exists()
    # os.replace would overwrite even a read-only file.
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # The next process that writes into the folder removes what a killed one left there.
    remove_parts(target.parent)
    with _new_part(target) as file:
        try:
            if exists:
                # Not every file system has permissions.
                with contextlib.suppress(OSError):
                    shutil.copymode(target, file.name)
            yield file
        finally:
            with contextlib.suppress(OSError):
                os.unlink(file.name)


def _new_part(target: Path) -> BinaryIO:
    """Returns a new file beside the target, locked as long as it is open."""
    while True:
        part = _part_name(target)
        file = open(part, "xb")
        # Not every file system has locks.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # Another process may have removed the file before it was locked.
        if part.exists():
            return file
        file.close()


def _part_name(target: Path) -> Path:
    return target.with_name(f".asd_jax_{secrets.token_hex(8)}.part")


@contextlib.contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """Context manager: yields a new folder beside the target, to be filled and then renamed.

    It is removed at the end unless it was renamed, and by the next process after a kill.

    Raises:
        OSError: the folder cannot be created.
    """
    remove_parts(target.parent)
    part = _part_name(target)
    with folder_in_use(part):
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def remove_parts(folder: Path) -> None:
    """Removes what killed processes left in a folder: files of `atomic_file`, part folders."""
    for path in folder.glob(".asd_jax_*.part"):
        # What is locked is being written. Without locks, or without permission, it stays.
        with contextlib.suppress(OSError):
            if _PART.fullmatch(path.name):
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    """Removes a file or a folder; raises OSError if another process holds a lock on it."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(number)


@contextlib.contextmanager
def folder_in_use(folder: Path) -> Iterator[Callable[[], bool]]:
    """Context manager: creates the folder and marks it as in use inside the block.

    Yields a function that returns whether no other process uses the folder.

    Raises:
        OSError: the folder cannot be created.
    """
    with contextlib.ExitStack() as stack:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                number = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, number)
                # Not every file system has locks.
                with contextlib.suppress(OSError):
                    fcntl.flock(number, fcntl.LOCK_SH)
                # Another process may have removed the folder since it was opened.
                if os.path.samestat(os.fstat(number), os.stat(folder)):
                    break
            # The last user of the folder may have just removed it; then it is created again.
            except FileNotFoundError:
                pass

        # Every user holds a shared lock; only the last one can make its own exclusive.
        def alone() -> bool:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield alone


def unwritable_folder(folder: Path, error: OSError) -> InputError:
    """Returns the error of a folder that cannot be created or written to."""
    return InputError(f"{folder}: no folder to write to ({error.strerror or error})")


@contextlib.contextmanager
def remove_new_folder_on_error(folder: str | Path, *, unless: str = "") -> Iterator[None]:
    """Context manager: removes the folder if an InputError is raised inside the block.

    The folder stays if it existed before, if another process uses it, or if it holds something that
    took time to compute: results, checkpoints or a file that matches the pattern `unless`.

    Raises:
        InputError: the folder cannot be created, or the block raised it.
    """
    folder = Path(folder)
    # Parents that this call creates are removed, too.
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    with contextlib.ExitStack() as stack:
        try:
            alone = stack.enter_context(folder_in_use(folder))
        except OSError as error:
            raise unwritable_folder(folder, error) from error
        try:
            yield
        except InputError:
            patterns = filter(None, (*_KEPT, unless))
            kept = any(any(folder.glob(pattern)) for pattern in patterns)
            if made and alone() and not kept:
                shutil.rmtree(folder, ignore_errors=True)
                for place in made[1:]:
                    # A parent folder that is not empty stays.
                    with contextlib.suppress(OSError):
                        place.rmdir()
            raise


def open_regular(path: str | Path) -> BinaryIO:
    """Returns a regular file, opened for reading.

    Raises:
        OSError: as for `open`; also for a pipe or a device, which could block a reader forever.
    """
    # O_NONBLOCK keeps os.open from waiting for the writer of a pipe.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return open(number, "rb")
    except OSError:
        os.close(number)
        raise


def write_json(path: str | Path, value: dict) -> None:
    """Writes `value` as indented JSON with its keys in the given order.

    The same value always gives the same bytes.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, shape: Any = dict, *, largest: int = LARGEST) -> Any:
    """Returns the value that a JSON file holds, by default an object; arguments as for
    `parse_json`.

    Raises:
        InputError: the file does not exist, is not a regular file, or `parse_json` raises.
    """
    try:
        with open_regular(path) as file:
            text = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    return parse_json(text, str(path), shape, largest=largest)


def file_sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits, reading the file in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
