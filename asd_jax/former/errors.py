"""asd_jax.runtime.errors."""

from asd_jax.runtime.errors import InputError

__all__ = ["InputError"]
