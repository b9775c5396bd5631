"""asd_jax.runtime.files."""

from asd_jax.runtime.files import atomic_file as whole_file
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.files import remove_new_folder_on_error as nothing_left_of

__all__ = ["nothing_left_of", "read_json", "whole_file", "write_json"]
