"""Reads zip archives and the NumPy arrays in them; sizes they claim are verified before reading."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular

LARGEST_DIRECTORY = 16 << 20  # bytes of the central directory: 200,000 entries
# An npz file may unpack to LARGEST_TEXT bytes plus RATIO times its own size. Floats compress by
# half at best, but columns of text compress a hundredfold.
LARGEST_TEXT = 256 << 20
RATIO = 4
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
)  # all exceptions that zipfile raises
# NumPy parses an array's header as a Python expression, and raises these as well.
_NO_HEADER = (*UNREADABLE, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_archive(path: str | Path, kind: str = "zip archive") -> zipfile.ZipFile:
    """Returns an opened zip archive, of which only the central directory has been read.

    Args:
        path: the archive.
        kind: what error messages call it.

    Raises:
        InputError: the file does not exist, is not a zip archive or has more entries than any file
            of this project.
    """
    path = Path(path)
    try:
        if _directory(path) > LARGEST_DIRECTORY:
            raise ValueError("too many entries")
        return zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable {kind} ({error})") from error


def _directory(path: Path) -> int:
    """Returns the size of an archive's central directory in bytes, from the records at its end."""
    with open_regular(path) as file:
        # The end of the file holds three records (98 bytes) and a comment of up to 64 KiB.
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))
        last = file.read()
    end = last.rfind(b"PK\5\6")
    end64 = last.rfind(b"PK\6\6")
    size = int.from_bytes(last[end + 12 : end + 16], "little") if end >= 0 else 0
    # This value means that the size is in the ZIP64 record.
    if size == 0xFFFFFFFF and end64 >= 0:
        return int.from_bytes(last[end64 + 40 : end64 + 48], "little")
    return size


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file by name.

    Only arrays of numbers and text are read, so no code from the file is executed.

    Raises:
        InputError: the file does not exist or is damaged, an array claims another size than its
            entry has, or the file unpacks to far more than its size.
    """
    with open_archive(path, "npz file") as archive:
        entries = archive.infolist()
        size = Path(path).stat().st_size
        # Before anything is unpacked: a small file may claim terabytes.
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
        # math.prod counts in Python's integers, which do not overflow.
        promised = math.prod(shape) * dtype.itemsize
        present = entry.file_size - file.tell()
        # Only numbers and text are accepted; objects would be unpickled, which can execute code.
        if (
            dtype.kind not in "biufcSU"
            or promised != present
            or (math.prod(shape) and not promised)
        ):
            raise ValueError(
                f"{entry.filename[:80]!r} claims {dtype} {shape}, but its entry has {present} bytes"
            )
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
