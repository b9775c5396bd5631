"""Where version 0.1 had what is now in asd_jax.run.workdir; kept for scripts written for it."""

from asd_jax.run.workdir import claimed, locked  # noqa: F401
