"""Zip archives, and arrays of NumPy in them: claims are compared with what is there, first."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular

LARGEST_DIRECTORY = 16 << 20  # bytes of names and places: 200,000 entries
# Floats are compressed by half at best, columns of text a hundredfold.
LARGEST_TEXT, RATIO = 256 << 20, 4  # an npz unpacks to so many bytes and so often its own size
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)  # all that zipfile raises
# What NumPy raises of a header, which it parses as an expression of Python.
_NO_HEADER = (*UNREADABLE, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_archive(path: str | Path, kind: str = "zip archive") -> zipfile.ZipFile:
    """A zip archive, called by its kind in messages; its directory is read, none of its entries.

    Raises:
        InputError: no file, no zip archive, one with more entries than any of ours.
    """
    path = Path(path)
    try:
        if _directory(path) > LARGEST_DIRECTORY:
            raise ValueError("more entries than any of ours")
        return zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable {kind} ({error})") from error


def _directory(path: Path) -> int:
    """How many bytes the directory of an archive has, by its last words."""
    with open_regular(path) as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))  # a comment, and three records
        last = file.read()
    end, end64 = last.rfind(b"PK\5\6"), last.rfind(b"PK\6\6")
    size = int.from_bytes(last[end + 12 : end + 16], "little") if end >= 0 else 0
    if size == 0xFFFFFFFF and end64 >= 0:
        return int.from_bytes(last[end64 + 40 : end64 + 48], "little")
    return size


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """An npz file -> its arrays by name; of numbers and text, nothing is executed.

    Raises:
        InputError: no such file, damaged, an array that claims another size than its entry has,
            or one that unpacks to far more than the file's size.
    """
    with open_archive(path, "npz file") as archive:
        entries, size = archive.infolist(), Path(path).stat().st_size
        if sum(entry.file_size for entry in entries) > LARGEST_TEXT + RATIO * size:
            raise InputError(f"{path}: unpacks to far more than its {size} bytes; refused")
        try:
            return {
                entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries
            }
        except _NO_HEADER as error:
            raise InputError(
                f"{path}: not a readable npz file ({type(error).__name__}: {str(error)[:200]})"
            ) from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename[:80]!r} of npy version {version}")
        shape, _, dtype = _HEADERS[version](file)
        promised, there = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
        if dtype.kind not in "biufcSU" or promised != there or (math.prod(shape) and not promised):
            raise ValueError(
                f"{entry.filename[:80]!r} claims {dtype} {shape}, but its entry has {there} bytes"
            )
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
