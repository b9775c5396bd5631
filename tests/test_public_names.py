"""What the documentation promises under `asd_jax`."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import asd_jax

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


def promised():
    """The names that the docstring of asd_jax promises."""
    (part,) = re.findall(r"Public names:\n\n(.*?)\n\n", str(asd_jax.__doc__), re.S)
    return {name for line in part.splitlines() for name in line.split("  ")[2].split(", ")}


def test_what_is_promised_is_what_a_star_imports():
    space = {}
    exec("from asd_jax import *", space)
    assert set(space) - {"__builtins__"} == promised() <= set(dir(asd_jax))
    with pytest.raises(AttributeError, match="^module 'asd_jax' has no attribute 'simmam'$"):
        _ = asd_jax.simmam


def test_what_is_promised_has_a_docstring_and_an_entry_in_the_reference():
    entries = set(re.findall(r"^::: asd_jax\.(\w+)$", REFERENCE.read_text(), re.M))
    assert entries == promised()
    for name in promised():
        # the docstring that a dataclass makes for itself is its signature
        said = str(getattr(asd_jax, name).__doc__)
        assert len(said.split()) > 5 and not said.startswith(f"{name}("), name


def test_import_alone_loads_nothing_heavy():
    code = (
        "import asd_jax, sys; sys.exit(any(m in sys.modules for m in ('jax', 'numpy', 'flax', "
        "'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_front_end_by_its_public_names():
    wave = np.random.default_rng(0).normal(size=(1, 16000)).astype(np.float32) * 0.1
    spectrogram = asd_jax.normalize(asd_jax.log_filter_bank(wave)[:, :96])
    np.testing.assert_allclose(
        asd_jax.simam(spectrogram, tile=(32, 32)),
        spectrogram * asd_jax.simam_weights(spectrogram, tile=(32, 32)),
        rtol=1e-6,
    )


EARLIER = {
    "asd_jax.errors:InputError": "asd_jax.runtime.errors:InputError",
    "asd_jax.files:nothing_left_of": "asd_jax.runtime.files:remove_new_folder_on_error",
    "asd_jax.files:whole_file": "asd_jax.runtime.files:atomic_file",
    "asd_jax.workdir:locked": "asd_jax.runtime.lock:lock_folder",
    "asd_jax.recordings:window_reader": "asd_jax.run.clips:window_reader",
    "asd_jax.recordings:windows": "asd_jax.run.clips:clip_windows",
}


def imported(name):
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", EARLIER)
def test_what_programs_import_by_an_earlier_name_is_the_same_object(name):
    assert imported(name) is imported(EARLIER[name])


def test_a_workdir_is_claimed_by_its_earlier_name(tmp_path):
    with imported("asd_jax.workdir:claimed")(tmp_path / "run", {"seed": 3}, []):
        assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"seed": 3}


def test_editors_see_the_names_that_programs_import_on_first_use():
    tree = ast.parse(Path(asd_jax.__file__).read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("asd_jax.")
        for alias in node.names
    }
    assert seen == asd_jax._HOME
    assert Path(asd_jax.__file__).with_name("py.typed").is_file()
