"""asd_jax.runtime.files."""

from asd_jax.runtime.files import read_json, write_json

__all__ = ["nothing_left_of", "read_json", "whole_file", "write_json"]
