"""asd_jax.run.clips."""

from asd_jax.run.clips import clip_windows as windows
from asd_jax.run.clips import window_reader

__all__ = ["window_reader", "windows"]
