"""Coordinates several processes, on one or many machines, that perform one run (jax.distributed).

Only the first process writes files. What several processes do together is in collectives.py.
"""

import atexit
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from asd_jax.runtime.errors import InputError

HEARTBEAT_SECONDS = 30  # a machine that is silent for longer counts as lost
SCORING_SECONDS = 3600  # how long the others wait at the end, while the first one scores
# The others have usually found the same wrong input; this gives them time to report it.
LAST_SECONDS = 1
_number = 0
_count = 1
_witness: subprocess.Popen | None = None


def join(
    coordinator: str, processes: int | None, process: int | None, last_words: str = ""
) -> None:
    """Makes this process part of a run of several; call it before JAX is used.

    Args:
        coordinator: HOST:PORT where the first process listens; "auto": JAX asks Slurm, TPU or MPI
            for all three values.
        processes: the number of processes.
        process: the number of this process, from 0.
        last_words: a message printed if this process ends without `exit_process` or an orderly
            exit, for example if JAX ends it because the first process is gone.

    Raises:
        InputError: the numbers are inconsistent, JAX finds no cluster to ask, or the other
            processes do not connect.
    """
    global _number, _count, _witness
    named = coordinator != "auto"
    if named and (
        processes is None
        or process is None
        or not 0 <= process < processes
        or ":" not in coordinator
    ):
        raise InputError(
            f"--coordinator={coordinator} --processes={processes} --process={process}: give "
            "HOST:PORT of the first process, how many there are, and the number of this one, "
            "from 0; or --coordinator=auto on Slurm and TPU"
        )
    # The shell notices the end of this process, because its standard input closes without a line.
    script = 'read -r _ || printf "%s\\n" "$0" >&2'
    # JAX ends a process by abort, which runs nothing of Python.
    _witness = subprocess.Popen(["sh", "-c", script, last_words], stdin=subprocess.PIPE)
    atexit.register(_dismiss)
    given = (coordinator, processes, process) if named else (None, None, None)
    try:
        _number, _count = _collectives().connect(
            *given, heartbeat_seconds=HEARTBEAT_SECONDS, shutdown_seconds=SCORING_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        if not named and isinstance(error, ValueError):
            raise InputError(
                "--coordinator=auto: nothing here says how many processes there are, and where, "
                "as Slurm, TPU and MPI do; give --coordinator=HOST:PORT --processes=N --process=I"
            ) from error
        raise InputError(
            f"--coordinator={coordinator}: the processes did not find each other ({reason})"
        ) from error


def is_first() -> bool:
    """Returns whether this process is the only one or the first, which writes files and prints."""
    return _number == 0


def process_index() -> int:
    """Returns the number of this process, from 0."""
    return _number


def process_count() -> int:
    """Returns the number of processes."""
    return _count


def is_distributed() -> bool:
    """Returns whether there is more than one process."""
    return _count > 1


def wait() -> None:
    """Blocks until every process has called it."""
    if is_distributed():
        _collectives().wait()


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """Context manager: the other processes enter the block after the first one has left it."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def any_process(flag: bool) -> bool:
    """Returns whether the flag is true in any process; every process must call this."""
    return _collectives().any_process(flag) if is_distributed() else flag


def gather(rows):
    """Returns the rows "n ..." of all processes, in the order of the processes."""
    return _collectives().gather(rows) if is_distributed() else rows


def wait_for_the_others() -> None:
    """Keeps the first process alive until the others have ended.

    They depend on JAX's coordination service, which ends with the first process.
    """
    if is_distributed() and is_first():
        _collectives().wait_for_the_living()


def exit_process(status: int) -> None:
    """Ends this process immediately.

    An orderly exit would wait for processes that are gone or still at work.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if is_first():
        time.sleep(LAST_SECONDS)
    _dismiss()
    os._exit(status)


def _collectives():
    # Every command imports this module, most runs are of one process, and JAX takes half a second.
    from asd_jax.runtime import collectives

    return collectives


def _dismiss() -> None:
    """Tells the witness shell that this process ends normally, so that it prints nothing."""
    with contextlib.suppress(OSError):
        if _witness is not None:
            _witness.communicate(b"\n")
