"""asd_jax.runtime.files."""

from asd_jax.runtime.files import nothing_left_of as nothing_left_of
from asd_jax.runtime.files import read_json as read_json
from asd_jax.runtime.files import whole_file as whole_file
from asd_jax.runtime.files import write_json as write_json
