"""asd_jax.run.workdir."""

from asd_jax.run.workdir import claim_workdir as claimed
from asd_jax.run.workdir import lock_workdir as locked

__all__ = ["claimed", "locked"]
