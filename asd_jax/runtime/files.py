"""Files that are whole or not there, the one way in which outputs are written; JSON, checksums."""

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

READER_SECONDS = 5  # that a named pipe may be without a reader
_PART = re.compile(r"\.asd_jax_[0-9a-f]{16}\.part")  # whole_file's own names, and nobody else's
_IN_MEMORY = 1 << 24  # bytes of what goes into a device or a pipe
_KEPT = ("results.json", "checkpoints/*")  # what took time to compute


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes its name only when it is complete; its folder is made.

    A link stays, and what it names is written. A device, a named pipe, or what this process
    prints to, is written into, at the end. Until then the content is in a file beside the target,
    of a name that nobody else uses. In all but the first of several processes, what is written
    goes nowhere.

    Raises:
        InputError: the place cannot be written, or is full; nobody reads the pipe.
    """
    if not processes.first():
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
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
            os.replace(file.name, target)


def check_output(path: str | Path) -> None:
    """Finds out before anything is computed that `whole_file` could not write there.

    Raises:
        InputError: as `whole_file`.
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
    """Whether no file may take the place of what is there: it is none, or this process prints to
    it.
    """
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(there.st_mode) or _own(there) is not None


def _own(there: os.stat_result) -> int | None:
    """Of standard output and standard error, the one that this is."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(there, os.fstat(number)):
                return number
    return None


def _stream(path: str | Path) -> BinaryIO:
    """What is there, opened to write into."""
    if (own := _own(os.stat(path))) is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return open(os.dup(own), "wb")
    until = time.monotonic() + READER_SECONDS
    while True:
        try:  # without O_NONBLOCK, a pipe that nobody reads is waited for without end
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
    """A new file beside the target, with its rights; removed if it has not taken its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.exists()
    if there and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    part = target.with_name(f".asd_jax_{secrets.token_hex(8)}.part")
    with open(part, "xb") as file:
        try:
            if there:
                with contextlib.suppress(OSError):  # not every file system has rights
                    shutil.copymode(target, part)
            yield file
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


def remove_parts(folder: Path) -> None:
    """Removes what processes that were killed left of `whole_file` in a folder that no other one
    writes to.
    """
    for path in folder.glob(".asd_jax_*.part"):
        if _PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def used(folder: Path) -> Iterator[Callable[[], bool]]:
    """Within, the folder, which is made, is known to be in use; whether nobody else uses it.

    Raises:
        OSError: it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, number)
                with contextlib.suppress(OSError):  # not every file system has locks
                    fcntl.flock(number, fcntl.LOCK_SH)
                if os.path.samestat(os.fstat(number), os.stat(folder)):
                    break
            except FileNotFoundError:  # its last user just removed it
                pass

        def alone() -> bool:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield alone


@contextlib.contextmanager
def nothing_left_of(folder: str | Path, *, unless: str = "") -> Iterator[None]:
    """Within, an InputError takes with it what was written in the folder, if the folder was not
    there before and no other process uses it.

    Unless something is there that took time to compute: results, checkpoints, or a file of the
    pattern `unless`.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    with contextlib.ExitStack() as stack:
        try:
            alone = stack.enter_context(used(folder))
        except OSError as error:
            raise InputError(
                f"{folder}: no folder to write to ({error.strerror or error})"
            ) from error
        try:
            yield
        except InputError:
            patterns = filter(None, (*_KEPT, unless))
            kept = any(any(folder.glob(pattern)) for pattern in patterns)
            if made and alone() and not kept:
                shutil.rmtree(folder, ignore_errors=True)
                for place in made[1:]:
                    with contextlib.suppress(OSError):  # somebody has put something there
                        place.rmdir()
            raise


def open_regular(path: str | Path) -> BinaryIO:
    """A file to read.

    Raises:
        OSError: as `open`; also for a pipe or a device, which may keep a reader for ever.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return open(number, "rb")
    except OSError:
        os.close(number)
        raise


def write_json(path: str | Path, value: dict) -> None:
    """Writes `value` as indented JSON, keys in the order given; the same value gives the same
    bytes.
    """
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, shape: Any = dict, *, largest: int = LARGEST) -> Any:
    """Reads a JSON file, an object unless told otherwise; arguments and errors as `parse_json`.

    Raises:
        InputError: not there, or no regular file.
    """
    try:
        with open_regular(path) as file:
            text = file.read(largest + 1)
    except (OSError, ValueError) as error:  # a name with a NUL in it
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    return parse_json(text, str(path), shape, largest=largest)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hashed in a stream."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
