"""Files that are whole or not there, JSON, and checksums."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes its name only when it is complete; its folder is made.

    In all but the first of several processes, what is written goes nowhere.

    Raises:
        InputError: the place cannot be written, or is full.
    """
    if not processes.first():
        yield io.BytesIO()
        return
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def nothing_left_of(folder: str | Path, *, unless: str = "") -> Iterator[None]:
    """Within, an InputError takes with it what was written in the folder, if the folder was not
    there before.

    Unless a file is there that took time to compute: one of the pattern `unless`.
    """
    new = not Path(folder).exists()
    try:
        yield
    except InputError:
        if new and not (unless and any(Path(folder).glob(unless))):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def write_json(path: str | Path, value: dict) -> None:
    """Writes `value` as indented JSON, keys in the order given; the same value gives the same
    bytes.
    """
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> dict:
    """Reads a JSON file.

    Raises:
        InputError: not there, or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hashed in a stream."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
