"""Checkpoints of a run's training state (Orbax, nowhere else)."""

from pathlib import Path
from typing import TypeVar

import jax
import orbax.checkpoint as ocp

State = TypeVar("State")


class Checkpoints:
    """The newest checkpoints of one run, in `<workdir>/checkpoints/<step>/`; a context manager."""

    def __init__(self, folder: str | Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)

    @property
    def latest(self) -> int:
        """Steps done at the newest checkpoint, 0 without one."""
        return self._manager.latest_step() or 0

    def save(self, step: int, state: State) -> None:
        """Writes the state after `step` steps, in the background; complete or not there at all."""
        self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))

    def restore(self, state: State) -> tuple[int, State]:
        """(steps done, state) of the newest checkpoint, or (0, `state`) without one.

        The given state is the pattern: structure, shapes, dtypes and placement come from it.
        """
        step = self._manager.latest_step()
        if step is None:
            return 0, state
        pattern = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(pattern)))
        return step, restored["state"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.wait_until_finished()
        self._manager.close()
