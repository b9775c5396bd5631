"""Where version 0.1 had what is now in asd_jax.run.clips; kept for scripts written for it."""

from asd_jax.run.clips import clip_windows as windows  # noqa: F401
