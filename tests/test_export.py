import json
import subprocess
import sys

import numpy as np
import onnxruntime
import openvino
import pytest
from machine_sound import RATE, sound

import asd_jax.export
from asd_jax.detector.detector import Detector
from asd_jax.run import export_graph
from asd_jax.training.weights import load_pipeline

WAVES = np.stack([sound(seed, 1.0) for seed in range(3)])
WITHOUT_ASD_JAX = """
import json, sys
import jax, numpy as np
exported = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
about = json.loads(exported.fun_name)
wave = np.load(sys.argv[2])
found = {name: np.asarray(exported.call(wave)[name]) for name in about["outputs"]}
assert "asd_jax" not in sys.modules and "flax" not in sys.modules
np.savez(sys.argv[3], **found, samples=about["samples"] or 0, sample_rate=about["sample_rate"])
"""


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory, encoder_file):
    path = tmp_path_factory.mktemp("detector") / "machine.detector"
    Detector.fit([sound(seed, 1.0) for seed in range(20)], RATE, weights=encoder_file).save(path)
    return path


def exported(command, tmp_path, what, path, form, *more):
    flags = [f"--{what}={path}", f"--format={form}", f"--output={tmp_path}/x", *more]
    status, out, error = command(asd_jax.export, *flags)
    assert status == 0 and "of the original" in out, error
    return tmp_path / "x"


def in_a_fresh_process(file, wave, tmp_path):
    np.save(tmp_path / "wave.npy", wave)
    arguments = [file, tmp_path / "wave.npy", tmp_path / "found.npz"]
    subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_ASD_JAX, *arguments], check=True, cwd=tmp_path
    )
    return np.load(tmp_path / "found.npz")


@pytest.mark.slow
def test_stablehlo_needs_jax_alone_and_takes_any_batch_and_length(command, tmp_path, encoder_file):
    file = exported(command, tmp_path, "weights", encoder_file, "stablehlo", "--seconds=1")
    wave = WAVES[:, :7777]
    found = in_a_fresh_process(file, wave, tmp_path)
    expected = load_pipeline(encoder_file).embed(wave)
    assert found["samples"] == 0 and found["sample_rate"] == RATE
    assert np.abs(found["embedding"] - expected).max() < 5e-7  # measured 2.4e-7


@pytest.mark.slow
def test_stablehlo_of_a_detector_gives_score_and_threshold(command, tmp_path, detector_file):
    file = exported(command, tmp_path, "detector", detector_file, "stablehlo")
    detector = Detector.load(detector_file)
    found = in_a_fresh_process(file, WAVES, tmp_path)
    assert found["score"] == pytest.approx([detector.score(wave) for wave in WAVES], abs=1e-4)
    assert found["threshold"] == np.float32(detector.threshold) and found["samples"] == RATE


@pytest.mark.slow
def test_onnx_runs_in_onnxruntime_and_openvino(command, tmp_path, encoder_file):
    file = exported(command, tmp_path, "weights", encoder_file, "onnx", "--seconds=1")
    expected = load_pipeline(encoder_file).embed(WAVES)
    session = onnxruntime.InferenceSession(file)
    assert json.loads(session.get_modelmeta().custom_metadata_map["asd_jax"])["samples"] == RATE
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 3):
        by_runtime = (
            session.run(["embedding"], {"wave": WAVES[:count]})[0],
            compiled(WAVES[:count])["embedding"],
        )
        for found in by_runtime:
            assert np.abs(found - expected[:count]).max() < 1.5e-6  # measured 7.2e-7 and 7.5e-7


@pytest.mark.slow
def test_onnx_of_a_detector_gives_score_and_threshold(command, tmp_path, detector_file):
    file = exported(command, tmp_path, "detector", detector_file, "onnx")
    detector = Detector.load(detector_file)
    score, threshold = onnxruntime.InferenceSession(file).run(
        ["score", "threshold"], {"wave": WAVES}
    )
    assert score == pytest.approx([detector.score(wave) for wave in WAVES], abs=1e-4)
    assert threshold == np.float32(detector.threshold)


@pytest.mark.parametrize(
    ("off", "message"), [(1.01, "differs by"), (np.nan, "differs by"), (None, "another verdict")]
)
def test_what_differs_is_not_written(command, tmp_path, detector_file, monkeypatch, off, message):
    def wrong(model):
        def call(wave):
            found = model.original(wave)
            return found | (
                {"score": found["score"] * off} if off else {"threshold": found["score"].max()}
            )

        monkeypatch.setitem(model.about, "outputs", ["score", "threshold"] if off else ["score"])
        return b"", call

    monkeypatch.setitem(export_graph.EXPORTERS, "onnx", wrong)
    with pytest.raises(RuntimeError, match=message):
        command(
            asd_jax.export, f"--detector={detector_file}", "--format=onnx", f"--output={tmp_path}/x"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "lengths"), [(0.03, {480, 400}), (1.0, {16000, 5920})])
def test_checked_waveforms_are_a_frame_at_least(encoder_file, seconds, lengths):
    waves = export_graph.synthetic_waveforms(export_graph.model_of_weights(encoder_file), seconds)
    assert {wave.shape[1] for wave in waves} == lengths


def test_bad_input_is_refused(command, tmp_path, encoder_file, detector_file):
    def said(*arguments):
        status, _, error = command(asd_jax.export, "--format=onnx", *arguments)
        assert status == 2
        return error

    out = f"--output={tmp_path}/x"
    assert "give --weights=FILE or --detector=FILE" in said(out)
    assert "one of them" in said(out, f"--weights={encoder_file}", f"--detector={detector_file}")
    assert "no such weight file" in said(out, "--weights=nowhere")
    assert "no such file or folder" in said(out, f"--weights={encoder_file}", "--clips=nowhere")
    assert "--seconds=0" in said(out, f"--weights={encoder_file}", "--seconds=0")
    assert not list(tmp_path.iterdir())
