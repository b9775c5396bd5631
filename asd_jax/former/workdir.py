"""asd_jax.run.workdir."""

from asd_jax.run.workdir import claimed, locked

__all__ = ["claimed", "locked"]
