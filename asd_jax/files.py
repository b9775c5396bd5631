"""Where version 0.1 had what is now in asd_jax.runtime.files; kept for scripts written for it."""

from asd_jax.runtime.files import nothing_left_of, read_json, whole_file, write_json  # noqa: F401
