"""Checkpoints of a run's training state (Orbax, nowhere else)."""

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
from asd_jax.runtime.log import say

State = TypeVar("State")


class Checkpoints:
    """The newest checkpoints of one run, in `<workdir>/checkpoints/<step>/`; a context manager."""

    def __init__(self, folder: str | Path, keep: int = 2):
        self.folder = Path(folder).resolve()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, cleanup_tmp_directories=True
        )
        # Orbax also logs the traceback of all that it raises
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        with self._written():
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    @property
    def latest(self) -> int:
        """Steps done at the newest checkpoint, 0 without one."""
        return self._manager.latest_step() or 0

    def save(self, step: int, state: Any) -> None:
        """Writes the state after `step` steps, in the background; complete or not there at all.

        Raises:
            InputError: this one, or the one before, cannot be written.
        """
        parts = {
            "state": ocp.args.StandardSave(state),
            "checksum": ocp.args.JsonSave({"step": step, "leaves": checksum(state)}),
        }
        with self._written():
            self._manager.save(step, args=ocp.args.Composite(**parts))

    def restore(self, state: State) -> tuple[int, State]:
        """(steps done, state) of the newest checkpoint that is whole, or (0, `state`) without any.

        The given state is the pattern: structure, shapes, dtypes and placement come from it. Newer
        checkpoints that are damaged are named on the screen and removed, as their steps will be
        done again.

        Raises:
            InputError: there are checkpoints, but none can be read.
        """
        damaged = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._read(step, jax.tree.map(ocp.utils.to_shape_dtype_struct, state))
            except Exception as error:  # Orbax and TensorStore have no class of errors of their own
                damaged[step] = str(error).strip().partition("\n")[0][:200] or type(error).__name__
                continue
            for newer, reason in damaged.items():
                say(
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
        if summed := (
            self.folder / str(step) / "checksum"
        ).exists():  # not in runs begun before there were checksums
            parts["checksum"] = ocp.args.JsonRestore()
        restored = self._manager.restore(step, args=ocp.args.Composite(**parts))
        if summed and restored["checksum"]["leaves"] != checksum(restored["state"]):
            raise ValueError("its checksum does not fit")
        if summed and (of := restored["checksum"].get("step", step)) != step:
            raise ValueError(f"it is that of step {of}")
        return restored["state"]

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Turns what Orbax raises for a full or read-only disk into the one error."""
        try:
            yield
        except Exception as error:
            if processes.several():  # more likely another one ended
                raise
            reason = str(error).strip().partition("\n")[0][:300]
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({reason}). Is the disk full? The "
                "same command continues from the last whole one"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind and processes.several():  # the others may be gone, and there is nothing to wait for
            return
        with self._written():
            self._manager.wait_until_finished()
            self._manager.close()


def checksum(state: Any) -> list[int]:
    """One number for each array of a pytree, that any damaged value changes (Orbax does not notice
    a flipped bit).

    The sum modulo 2^32 of the values' bits, mixed as in Knuth's multiplicative hashing, each times
    an odd number of its own: every step can be undone, so one value that changes always shows.
    """
    return [int(number) for number in jax.device_get(_checksums(jax.tree.leaves(state)))]


@jax.jit
def _checksums(arrays: list[jax.Array]) -> list[jax.Array]:
    def one(x):
        bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
        bits = bits.astype(jnp.uint32) * jnp.uint32(2654435761)
        bits = bits ^ (bits >> 16)
        # of each value; not by reshaping, so that an array spread over devices stays so
        number = jnp.uint32(0)
        for axis, size in enumerate(x.shape):
            number = number * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        return (bits * (2 * number + 1)).sum(dtype=jnp.uint32)

    return [one(x) for x in arrays]
