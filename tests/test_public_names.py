"""What the documentation promises under `asd_jax`."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import asd_jax
from asd_jax.runtime import errors

NAMES = (
    "Detector EAT EATConfig load_encoder load_pipeline log_filter_bank normalize simam "
    "simam_weights"
).split()


def test_every_public_name_is_there():
    assert asd_jax.__all__ == NAMES and set(NAMES) <= set(dir(asd_jax))
    assert all(callable(getattr(asd_jax, name)) for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'simmam'"):
        _ = asd_jax.simmam


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


@pytest.mark.parametrize(
    "name",
    [
        "asd_jax.errors:InputError",
        "asd_jax.files:nothing_left_of",
        "asd_jax.files:whole_file",
        "asd_jax.workdir:locked",
        "asd_jax.recordings:window_reader",
        "asd_jax.recordings:windows",
    ],
)
def test_what_programs_import_by_an_earlier_name_is_there(name):
    module, _, attribute = name.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_an_error_is_one_class_by_either_name():
    assert importlib.import_module("asd_jax.errors").InputError is errors.InputError


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
    assert all(name in str(asd_jax.__doc__) for name in NAMES)
