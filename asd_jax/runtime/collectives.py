"""What several processes of one run do together, by JAX."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def connect(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    *,
    heartbeat_seconds: int,
    shutdown_seconds: int,
) -> tuple[int, int]:
    """Connects this process to the others and returns (its number, their count).

    JAX must not have been used before. Where the first three values are None, JAX asks Slurm, TPU
    or MPI for them.

    Args:
        coordinator: HOST:PORT where the first process listens.
        processes: the number of processes.
        process: the number of this process, from 0.
        heartbeat_seconds: a process that is silent for longer counts as lost.
        shutdown_seconds: how long the others wait at the end for the first one.

    Raises:
        RuntimeError: the processes did not find each other.
        ValueError: JAX finds nothing to ask.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # gloo itself detects that another process ended and raises an ordinary error.
    # The attribute is made at run time, so pyright does not know it.
    if jax.config.jax_platforms == "cpu":  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        heartbeat_timeout_seconds=heartbeat_seconds,
        shutdown_timeout_seconds=shutdown_seconds,
    )
    return jax.process_index(), jax.process_count()


def wait() -> None:
    """Blocks until every process has called it."""
    multihost_utils.sync_global_devices("asd_jax")


def any_process(flag: bool) -> bool:
    """Returns whether the flag is true in any process; every process must call this."""
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def gather(rows):
    """Returns the rows "n ..." of all processes, in the order of the processes."""
    return multihost_utils.process_allgather(rows, tiled=True)


def wait_for_the_living() -> None:
    """Blocks until every process that is still alive has called it.

    Where JAX cannot recover from the loss of a process, this returns at once, and JAX's own
    shutdown waits.
    """
    # The attribute is made at run time, so pyright does not know it.
    recovers = jax.config.jax_enable_recoverability  # pyright: ignore[reportAttributeAccessIssue]
    if recovers:
        with multihost_utils.live_devices(jax.devices()):
            pass
