"""Embedding in OpenVINO."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.config import Model, RunConfig
from asd_jax.detector.detector import Detector
from asd_jax.features.simam import MODES
from asd_jax.models.settings import RUNTIMES
from asd_jax.runtime.errors import InputError
from asd_jax.training.runtime import PRECISIONS, check_runtime, embed_in
from asd_jax.training.weights import BOX, embed, load_pipeline


def test_what_cannot_run_here_is_said_with_the_remedy(monkeypatch):
    assert RUNTIMES == ("jax", *PRECISIONS)
    with pytest.raises(InputError, match="must be jax, openvino or"):
        check_runtime("tensorrt")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name)
    )
    with pytest.raises(InputError, match="openvino is missing: pip install"):
        check_runtime("openvino")


@pytest.mark.slow
def test_nothing_is_reported_from_the_users_machine():
    program = (
        "from asd_jax.training.runtime import openvino_module\n"
        "openvino_module()\n"
        "import openvino.tools.ovc.telemetry_utils as used\n"
        "print(used.tm.__name__)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "openvino.tools.ovc.telemetry_stub", found.stderr


def test_a_type_is_not_said_twice():
    config = RunConfig(model=Model(runtime="openvino", dtype="bfloat16"))
    with pytest.raises(InputError, match="`dtype=float32`"):
        config.validate()


def test_a_detector_without_an_encoder_needs_no_other_runtime(plain):
    assert plain.with_runtime("openvino") is plain


@pytest.fixture(scope="module")
def plain():
    return Detector.fit([sound(seed, 1.0) for seed in range(6)], RATE, weights=None)


@pytest.mark.slow
def test_openvino_computes_the_embeddings_of_jax():
    pipeline = load_pipeline(BOX)
    wave = np.stack([sound(seed) for seed in range(3)])
    expected = embed(pipeline.config, pipeline.params, wave, np.full(3, MODES.index("none")))
    found = embed_in("openvino", pipeline.config, pipeline.params)(wave, MODES.index("none"))
    for ours, theirs in zip(expected, found, strict=True):
        # measured: 1.2e-6, relative for values above 1
        difference = np.abs(theirs - ours) / np.maximum(1, np.abs(ours))
        assert difference.max() < 3e-6


@pytest.mark.slow
def test_a_detector_scores_alike_in_openvino():
    detector = Detector.fit([sound(seed, 1.0) for seed in range(12)], RATE)
    other = detector.with_runtime("openvino")
    waves = [sound(99, 1.0), sound(98, 3.0, fault=0.1)]
    for ours, theirs in zip(detector.examine_all(waves), other.examine_all(waves), strict=True):
        assert theirs.score == pytest.approx(ours.score, rel=1e-4)
        assert theirs.view == ours.view
