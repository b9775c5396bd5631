"""Several processes, on one machine or many, that make one run (jax.distributed): the first alone
writes files.
"""

import atexit
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from asd_jax.runtime.errors import InputError

HEARTBEAT_SECONDS = 30  # after so long a machine that says nothing counts as gone
SCORING_SECONDS = 3600  # that the others wait at the end, while the first scores
# that the first leaves the others, which mostly found the same wrong input, to say so themselves
LAST_SECONDS = 1
_number, _count = 0, 1
_witness: subprocess.Popen | None = None


def join(
    coordinator: str, processes: int | None, process: int | None, last_words: str = ""
) -> None:
    """Makes this process one of a run's; to be called before JAX is used.

    Args:
        coordinator: HOST:PORT where the first process listens; "auto": JAX asks Slurm, TPU or MPI
            for all three.
        processes: how many there are.
        process: the number of this one, from 0.
        last_words: said if this process ends without `leave` or an orderly exit, as where JAX ends
            it at once because the first one is gone.

    Raises:
        InputError: numbers that do not fit; nothing that JAX could ask; the others do not come.
    """
    global _number, _count, _witness
    import jax

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
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # gloo notices itself that another process ended, and says so in an orderly way.
    if jax.config.jax_platforms == "cpu":  # pyright: ignore[reportAttributeAccessIssue] made at run time
        jax.config.update("jax_enable_recoverability", True)
    # A shell that hears when this process ends: its standard input closes, without a line on it.
    said = 'read -r _ || printf "%s\\n" "$0" >&2'
    _witness = subprocess.Popen(["sh", "-c", said, last_words], stdin=subprocess.PIPE)
    atexit.register(_dismiss)
    given = (coordinator, processes, process) if named else (None, None, None)
    try:
        jax.distributed.initialize(
            *given,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SCORING_SECONDS,
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
    _number, _count = jax.process_index(), jax.process_count()


def first() -> bool:
    """Whether this process is the only one or the first, which writes files and says what
    happens.
    """
    return _number == 0


def number() -> int:
    """Of this process."""
    return _number


def count() -> int:
    """Of processes."""
    return _count


def several() -> bool:
    """Whether there are others."""
    return _count > 1


def wait() -> None:
    """Returns when every process is here."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("asd_jax")


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """The others enter when the first has left."""
    if not first():
        wait()
    yield
    if first():
        wait()


def any_of(flag: bool) -> bool:
    """Whether it is so in any process; all must ask."""
    if not several():
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def gather(rows):
    """Each process's rows "n ..." -> those of all, in the order of processes."""
    if not several():
        return rows
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(rows, tiled=True)


def outlast() -> None:
    """The first returns when the others have ended, as they need JAX's service, which ends with it,
    until then.
    """
    if not (several() and first()):
        return
    import jax
    from jax.experimental import multihost_utils

    recoverable = jax.config.jax_enable_recoverability  # pyright: ignore[reportAttributeAccessIssue] made at run time
    if recoverable:  # else JAX's own end waits
        # asks who is alive and here; who has left is neither
        with multihost_utils.live_devices(jax.devices()):
            pass


def leave(status: int) -> None:
    """Ends this process of several at once, as an orderly end would wait for those that are gone or
    still at work.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if first():
        time.sleep(LAST_SECONDS)
    _dismiss()
    os._exit(status)


def _dismiss() -> None:
    """This process ends in an orderly way: nobody need speak for it."""
    with contextlib.suppress(OSError):
        if _witness is not None:
            _witness.communicate(b"\n")
