"""Saves and restores checkpoints of the training state; the only module that uses Orbax."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line

State = TypeVar("State")


class Checkpoints:
    """The newest checkpoints of one run, in `<workdir>/checkpoints/<step>/`; a context manager.

    Example:
        with Checkpoints(workdir / "checkpoints") as checkpoints:
            start, state = checkpoints.restore(state)
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        # Orbax accepts absolute paths only.
        self.folder = Path(folder).resolve()
        # Two by default: where the newest is damaged, the one before it is still there.
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        # Orbax logs the traceback of every exception that it raises, which would appear twice.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        with self._written():
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    @property
    def latest(self) -> int:
        """The number of steps done at the newest checkpoint, 0 if there is none."""
        return self._manager.latest_step() or 0

    def save(self, step: int, state: Any) -> None:
        """Writes the state after `step` steps in the background; the checkpoint appears only when
        complete.

        Raises:
            InputError: this checkpoint or the one before cannot be written.
        """
        # The checksum is of the state in memory, so that damage on the way to the disk shows, too.
        parts = {
            "state": ocp.args.StandardSave(state),
            "checksum": ocp.args.JsonSave({"step": step, "leaves": checksum(state)}),
        }
        with self._written():
            self._manager.save(step, args=ocp.args.Composite(**parts))

    def restore(self, state: State) -> tuple[int, State]:
        """Returns (steps done, state) of the newest intact checkpoint, or (0, `state`) if there is
        none.

        The given state is the template: it defines structure, shapes, dtypes and placement. Newer
        checkpoints that are damaged are reported on the screen and removed, because their steps
        will be repeated.

        Raises:
            InputError: there are checkpoints, but none can be read.
        """
        damaged = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._read(step, jax.tree.map(ocp.utils.to_shape_dtype_struct, state))
            # Says nothing of the checkpoint, which must not be removed for it.
            except MemoryError:
                raise
            # Orbax and TensorStore have no exception class of their own.
            except Exception as error:
                damaged[step] = str(error).strip().partition("\n")[0][:200] or type(error).__name__
                continue
            # Removed, as Orbax refuses to write a step that is older than its newest one.
            for newer, reason in damaged.items():
                print_line(
                    f"WARNING: {self.folder / str(newer)} is damaged ({reason}); falling back to "
                    f"step {step}"
                )
                self._manager.delete(newer)
            return step, restored
        if damaged:
            raise InputError(
                f"{self.folder}: no checkpoint here can be read, or they are of another model ("
                + "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
                + "). Remove this folder to train from the start"
            )
        return 0, state

    def _read(self, step: int, pattern: State) -> State:
        parts = {"state": ocp.args.StandardRestore(pattern)}
        # Runs begun by earlier versions have no checksums.
        if summed := (self.folder / str(step) / "checksum").exists():
            parts["checksum"] = ocp.args.JsonRestore()
        restored = self._manager.restore(step, args=ocp.args.Composite(**parts))
        if summed and restored["checksum"]["leaves"] != checksum(restored["state"]):
            raise ValueError("its checksum does not fit")
        # A folder that was renamed would continue at a wrong step.
        if summed and (of := restored["checksum"].get("step", step)) != step:
            raise ValueError(f"it is that of step {of}")
        return restored["state"]

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Context manager: turns what Orbax raises for a full or read-only disk into InputError."""
        try:
            yield
        except Exception as error:
            # With several processes, the likelier cause is that another one ended.
            if processes.is_distributed():
                raise
            reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({reason}). Is the disk full? The "
                "same command continues from the last whole one"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        # After an error the other processes may be gone, and waiting for them would never end.
        if kind and processes.is_distributed():
            return
        with self._written():
            # Waits for the last checkpoint, which is written in the background.
            self._manager.close()


def checksum(state: Any) -> list[int]:
    """Returns one number for each array of a pytree, which changes if any single value is damaged.

    Orbax does not notice a flipped bit. The number is the sum modulo 2^32 of the values' bits,
    mixed as in Knuth's multiplicative hashing, each times an odd number of its own. Every step is
    invertible, so a change of one value always changes the sum.
    """
    return [int(number) for number in jax.device_get(_checksums(jax.tree.leaves(state)))]


@jax.jit
def _checksums(arrays: list[jax.Array]) -> list[jax.Array]:
    def one(x):
        bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
        # Multiplying by an odd number and the xor-shift are both invertible modulo 2^32.
        # The multiplier is 2^32 divided by the golden ratio (Knuth's choice), and odd.
        bits = bits.astype(jnp.uint32) * jnp.uint32(2654435761)
        bits = bits ^ (bits >> 16)
        # The position of each value, computed without reshaping, which would gather an array that
        # is spread over devices.
        number = jnp.uint32(0)
        for axis, size in enumerate(x.shape):
            number = number * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        return (bits * (2 * number + 1)).sum(dtype=jnp.uint32)

    return [one(x) for x in arrays]
