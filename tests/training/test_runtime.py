"""Embedding in OpenVINO."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.config import Model, RunConfig
from asd_jax.detector.detector import Detector
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.simam import MODES
from asd_jax.models.encoder import EncoderConfig
from asd_jax.models.settings import RUNTIMES
from asd_jax.runtime.errors import InputError
from asd_jax.training import runtime
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


class Core:
    """OpenVINO on a processor with these abilities."""

    able: tuple[str, ...] = ("FP32",)
    compiled: list = []

    def get_property(self, *name):
        assert name == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.able

    def read_model(self, content):
        return f"read {content}"

    def compile_model(self, *arguments):
        self.compiled.append(arguments)
        return lambda wave: [wave[:, :2], wave[:, :3]]


@pytest.fixture
def core(monkeypatch):
    monkeypatch.setattr(runtime, "openvino_module", lambda: SimpleNamespace(Core=Core))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(Core, "able", ("FP32",))
    monkeypatch.setattr(Core, "compiled", [])
    runtime._embed_in.cache_clear()
    yield Core
    runtime._embed_in.cache_clear()


def test_bfloat16_needs_a_processor_that_computes_it(core, monkeypatch):
    check_runtime("openvino")
    with pytest.raises(InputError, match="this processor does not compute bfloat16; use openvino"):
        check_runtime("openvino_bfloat16")
    monkeypatch.setattr(core, "able", ("FP32", "BF16"))
    check_runtime("openvino_bfloat16")
    assert PRECISIONS == {"openvino": "f32", "openvino_bfloat16": "bf16"}


def test_a_program_is_compiled_once_for_each_length_and_mode(core, monkeypatch, capsys):
    seen = []

    def converted(function, shape, name, outputs):
        found = function(jnp.asarray(sound(0)[None, : 4 * RATE // 10]))
        # The first program is that of the encoder's own mode.
        for ours, theirs in zip(found, expected, strict=True) if not seen else ():
            np.testing.assert_array_equal(ours, theirs)
        seen.append((shape, name, outputs))
        return SimpleNamespace(SerializeToString=lambda: f"model {len(seen)}")

    module = SimpleNamespace(onnx_model=converted)
    monkeypatch.setitem(sys.modules, "asd_jax.training.onnx_model", module)
    config = EncoderConfig(FrontEnd(simam=SimAM("global")), None)
    params = {}
    expected = embed(config, params, sound(0)[None, : 4 * RATE // 10])
    convert = embed_in("openvino", config, params)
    assert embed_in("openvino", config, params) is convert
    assert embed_in("openvino", config, {}) is not convert
    waves = np.arange(8.0).reshape(2, 4)
    for mode in (None, None, 2, 2, 0):
        vectors, plain = convert(waves, mode)
        assert vectors.tolist() == [[0, 1], [4, 5]] and plain.tolist() == [[0, 1, 2], [4, 5, 6]]
        assert vectors.dtype == np.float32
    convert(waves[:, :3])
    outputs = ["embedding", "filter_bank"]
    assert seen == [(("batch", n), "wave", outputs) for n in (4, 4, 4, 3)]
    options = ("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert core.compiled == [(f"read model {n}", *options) for n in (1, 2, 3, 4)]
    assert "by OpenVINO in f32" in capsys.readouterr().err


def test_a_mode_replaces_that_of_the_encoder():
    encoder = EncoderConfig(FrontEnd("mel", simam=SimAM({"fan": "none"}, e_lambda=0.1)), None)
    found = runtime._with_mode(encoder, MODES.index("local"))
    assert found == EncoderConfig(FrontEnd("mel", simam=SimAM("local", e_lambda=0.1)), None)


def test_openvino_is_imported_without_its_telemetry(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(name="the module"))
    assert runtime.openvino_module().name == "the module"
    assert sys.modules["openvino_telemetry"] is None
    monkeypatch.delitem(sys.modules, "openvino_telemetry")


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
