"""Makes calls of the operating system fail on purpose: the shim of faults.c and its fault kinds.

`restart` starts the running command again with the shim, which stands between libc and everything
above it, so that what Python, SQLite and TensorStore write is met alike.
"""

import contextlib
import ctypes
import enum
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asd_jax.runtime.errors import InputError

SOURCE = Path(__file__).with_name("faults.c")
_SHIM = "ASD_FAULTS_SHIM"  # names the compiled shim in the environment of the command


class Kind(enum.IntEnum):
    """What happens at the n-th call; the numbers are those of faults.c."""

    COUNT = 0  # nothing: calls are counted
    ONCE = 1  # it fails: no space left; no permission to rename or remove; I/O error of fsync
    FULL = 2  # it and all later ones fail, but files can be removed and renamed: a full disk
    BROKEN = 3  # it and all later ones fail with an I/O error, removals included
    KILLED = 4  # the process is killed, in the middle of a write
    MEMORY = 5  # it gets no memory; allocations of 64 KiB and more are counted, no other calls


def compile_shim(folder: Path) -> Path:
    """Returns the compiled shim, which is written into the folder.

    Raises:
        InputError: there is no C compiler, or the system is not Linux with glibc.
    """
    shim = folder / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InputError("injecting faults needs a C compiler, cc, which is not here") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"{SOURCE}: cannot be compiled: {error.stderr[:500]}") from error
    return shim


def restart(arguments: list[str]) -> None:
    """Replaces this process by `python` with the arguments and the shim, unless it has the shim."""
    if _SHIM in os.environ:
        return
    shim = str(compile_shim(Path(tempfile.mkdtemp(prefix="asd_jax_faults_"))))
    os.environ.update({_SHIM: shim, "LD_PRELOAD": shim})
    os.execv(sys.executable, [sys.executable, *arguments])


class Counted:
    """How many calls and large allocations a block made, known at its end."""

    calls = 0
    allocations = 0


@contextlib.contextmanager
def faults(folder: Path, kind: Kind, number: int = 0, log: Path | None = None) -> Iterator[Counted]:
    """Context manager: the n-th call below the folder fails inside the block.

    Args:
        folder: whose files count.
        kind: of the fault.
        number: n, from 1.
        log: receives a line for each call, with a ! before those that fail.
    """
    shim = ctypes.CDLL(os.environ[_SHIM])
    shim.faults_begin.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    shim.faults_end.restype = ctypes.c_long
    file = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    counted = Counted()
    shim.faults_begin(os.fsencode(folder), kind, number, file if log else -1)
    try:
        yield counted
    finally:
        counted.allocations = shim.faults_end(1)
        counted.calls = shim.faults_end(0)
        os.close(file)
