"""Set before JAX starts: eight fake devices (of which one is used unless a test asks), strict
broadcasting, full matrix precision.
"""

import os
import sys
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

import asd_jax.runtime.command

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_device", jax.devices()[0])
jax.config.update("jax_default_matmul_precision", "highest")
# Tests build the same small programs again and again: each is compiled once, for pytest's workers
# and the commands that tests start too, which inherit the environment.
_COMPILED = tempfile.TemporaryDirectory()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """Name -> the arrays of tests/golden/<name>.npz."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command in this process: (module, *arguments) -> (exit status, stdout, stderr)."""
    from absl import flags

    def run(module, *arguments):
        before, argv = set(flags.FLAGS), [module.__name__, *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        try:
            with pytest.raises(SystemExit) as stop:
                asd_jax.runtime.command.run(module.main, module.define_flags)
        finally:
            for name in set(flags.FLAGS) - before:
                # defined by an import that the command did, and stays
                if not name.startswith("grain"):
                    delattr(flags.FLAGS, name)
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory):
    """A small encoder with random weights."""
    from asd_jax.features.front_end import FrontEnd, SimAM
    from asd_jax.models.eat import EATConfig
    from asd_jax.models.encoder import EncoderConfig, Pooling
    from asd_jax.training.weights import random_eat, save_encoder

    path, sizes = tmp_path_factory.mktemp("encoder") / "encoder.safetensors", EATConfig(32, 1, 2)
    config = EncoderConfig(
        FrontEnd("even", simam=SimAM("global")), sizes, Pooling("band_mean", -1, 0)
    )
    save_encoder(path, config, {"eat": random_eat(sizes, 0)})
    return path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A detector without an encoder, fitted to 20 sounds of a healthy machine."""
    from asd_jax.detector.detector import Detector

    path = tmp_path_factory.mktemp("detector") / "pump.detector"
    Detector.fit([sound(n) for n in range(20)], RATE, weights=None).save(path)
    return path


@pytest.fixture
def recordings(tmp_path):
    """A folder of three recordings of noise."""
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / "sounds" / f"{n}.wav", rng.uniform(-0.1, 0.1, 30000), 16000)
    return tmp_path / "sounds"
