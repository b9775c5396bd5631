"""asd_jax.run.workdir."""

from asd_jax.run.workdir import claimed as claimed
from asd_jax.run.workdir import locked as locked
