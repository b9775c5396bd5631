"""asd_jax.run.recordings."""

from asd_jax.run.recordings import window_reader as window_reader
from asd_jax.run.recordings import windows as windows
