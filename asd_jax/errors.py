"""Where version 0.1 had what is now in asd_jax.runtime.errors; kept for scripts written for it."""

from asd_jax.runtime.errors import InputError, about, near  # noqa: F401
