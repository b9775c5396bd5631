"""Removes compiled programs that a killed process or a full disk cut short.

JAX writes a program in place, never again if its file is there, and warns of a damaged one each
time that it reads it.
"""

import contextlib
import zlib
from pathlib import Path

_STAMP = ".checked"  # its time is that of the last look
_OVERLAP_NS = 60 * 10**9  # in which a program that was being written at the last look is looked at
_ZLIB = b"\x78"  # first byte; those of zstandard, which JAX takes if it is installed, are not read


def remove_cut_programs(folder: Path) -> None:
    """Removes the programs in a folder of JAX's that are cut, of those since the last look."""
    # A look that the disk refuses is made up for by the next one.
    with contextlib.suppress(OSError):
        stamp = folder / _STAMP
        since = stamp.stat().st_mtime_ns - _OVERLAP_NS if stamp.exists() else 0
        for path in folder.glob("*-cache"):
            if path.stat().st_mtime_ns >= since and is_cut(path.read_bytes()):
                path.unlink()
        stamp.touch()


def is_cut(program: bytes) -> bool:
    """Returns whether the content of a program's file is not all of it."""
    if program[:1] != _ZLIB:
        return not program
    unpacked = zlib.decompressobj()
    try:
        unpacked.decompress(program)
    except zlib.error:
        return True
    return not unpacked.eof
