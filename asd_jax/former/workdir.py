"""asd_jax.run.workdir."""


__all__ = ["claimed", "locked"]
