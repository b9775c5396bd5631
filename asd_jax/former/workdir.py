"""asd_jax.run.workdir."""

from contextlib import AbstractContextManager
from pathlib import Path

from asd_jax.run.workdir import Run
from asd_jax.runtime.lock import lock_folder as locked

__all__ = ["claimed", "locked"]


def claimed(workdir: Path, config, clips, **options) -> AbstractContextManager[None]:
    """Returns the context manager `Run(workdir).claim(config, clips, **options)`."""
    return Run(workdir).claim(config, clips, **options)
