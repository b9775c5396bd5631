"""What an exported model is checked on, and what the check refuses."""

import importlib.metadata
import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
import soundfile
from machine_sound import sound

from asd_jax.data.audio import fit_length
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.detector import Detector
from asd_jax.run import export_graph
from asd_jax.run.export_graph import (
    Model,
    check,
    export_model,
    model_of_detector,
    model_of_weights,
    recorded_waveforms,
    synthetic_waveforms,
    to_onnx,
    to_stablehlo,
)
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_pipeline, origin_entries

RATE = 16000


def model(samples=None, **about):
    def original(wave):
        return {"score": wave.mean(1) + 2, "threshold": np.float32(2)}

    about = {"kind": "detector", "sample_rate": RATE, "samples": samples, **about}
    return Model(original, original, {**about, "outputs": ["score", "threshold"]})


def scores(*values):
    return lambda wave: {"score": np.array(values), "threshold": np.float32(2)}


def test_the_difference_is_relative_above_one():
    waves = [np.full((2, 8), 0.5)]
    assert check(model(), scores(2.5001, 2.5), waves) == pytest.approx(1e-4 / 2.5)
    with pytest.raises(RuntimeError, match="the exported detector differs by 4.0e-02"):
        check(model(), scores(2.5, 2.6), waves)


def test_another_verdict_is_refused_however_small_the_difference():
    with pytest.raises(RuntimeError, match="another verdict than the original"):
        check(model(), scores(2.00001, 2), [np.zeros((2, 8))])


def test_a_model_of_one_length_is_checked_on_that_length_alone():
    assert {wave.shape[1] for wave in synthetic_waveforms(model(samples=4000), 1.0)} == {4000}
    assert len({wave.shape[1] for wave in synthetic_waveforms(model(), 1.0)}) == 2


def test_recordings_lose_what_the_detector_did_not_know(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(tmp_path / "noise.wav", noise, RATE)
    (wave,) = recorded_waveforms(model(recorded_rate=8000), str(tmp_path), 0.5)
    assert wave.shape == (1, RATE // 2)
    energy = np.abs(np.fft.rfft(wave[0] * np.hanning(RATE // 2))) ** 2
    assert energy[2100:].sum() < 1e-3 * energy.sum()  # above 4200 Hz


@pytest.mark.parametrize(
    ("computed", "worst"),
    [
        ([0.5, 1.5, 4.0], 0.0),
        ([0.50005, 1.5, 4.0], 5e-5),
        ([0.5, 1.49991, 4.0], 9e-5 / 1.5),
        ([0.5, 1.5, 4.0002], 2e-4 / 4),
        ([0.50002, 1.5, 4.0002], 2e-4 / 4),
    ],
)
def test_the_worst_of_all_values_counts(computed, worst):
    embedding = np.array([0.5, 1.5, 4.0])
    about = {"kind": "encoder", "outputs": ["embedding"]}
    encoder = Model(np.mean, lambda wave: {"embedding": embedding}, about)
    answers = iter([embedding, np.array(computed), embedding])
    waves = [np.zeros((1, 8))] * 3
    found = check(encoder, lambda wave: {"embedding": next(answers)}, waves)
    assert found == pytest.approx(worst, rel=1e-9, abs=0)


def test_a_difference_of_the_tolerance_is_allowed_and_nan_is_not():
    about = {"kind": "encoder", "outputs": ["embedding"]}
    encoder = Model(np.mean, lambda wave: {"embedding": np.zeros(2)}, about)
    for value, allowed in ((1e-4, True), (1.01e-4, False), (np.nan, False)):

        def exported(wave, value=value):
            return {"embedding": np.array([value, 0.0])}

        if allowed:
            assert check(encoder, exported, [np.zeros((2, 8))]) == 1e-4
        else:
            with pytest.raises(RuntimeError, match="the exported encoder differs by"):
                check(encoder, exported, [np.zeros((2, 8))])


def test_a_score_at_the_threshold_is_no_anomaly_and_one_other_verdict_is_enough():
    waves = [np.zeros((2, 8))]
    assert check(model(), scores(2.0, 1.99999), waves) == pytest.approx(5e-6)
    with pytest.raises(RuntimeError, match="another verdict"):
        check(model(), scores(2.0, 2.00001), waves)


def test_the_length_of_a_model_is_its_own_or_that_of_the_seconds():
    assert model().samples(0.5) == 8000 and model(samples=4000).samples(0.5) == 4000


def test_models_are_checked_on_noise_of_two_levels_on_silence_and_on_faulty_machines():
    batches = synthetic_waveforms(model(samples=8000), 1.0)
    assert [len(batch) for batch in batches] == [4, 4]
    rows = np.concatenate(batches)
    # 1 % of the level is the error of an estimate from 8000 samples.
    assert rows[:3].std(1) == pytest.approx([0.1, 1e-3, 0.0], rel=0.04)
    for row, (machine, fault) in zip(
        rows[3:], zip(export_graph.MACHINES, export_graph.FAULTS, strict=True), strict=True
    ):
        wave = factory_clip(machine, fault_kind=fault).wave
        np.testing.assert_array_equal(row, fit_length(wave, 8000))
    assert np.abs(rows).max() < 1
    # An export passes or fails in the same way each time.
    again = synthetic_waveforms(model(samples=8000), 1.0)
    np.testing.assert_array_equal(rows, np.concatenate(again))


def test_the_first_twenty_recordings_are_checked_each_from_its_beginning(tmp_path):
    for n in range(21):
        soundfile.write(tmp_path / f"{n:02}.wav", sound(n, 0.2), RATE, subtype="FLOAT")
    waves = recorded_waveforms(model(), str(tmp_path), 0.1)
    assert len(waves) == 20
    np.testing.assert_allclose(waves[19], sound(19, 0.2)[None, :1600], atol=1e-6)


def test_a_model_is_written_with_what_it_was_checked_on(tmp_path, monkeypatch, capsys):
    seen = []

    def toy(model):
        def call(wave):
            seen.append(wave.shape)
            return {"score": wave.mean(1) + 2.00002, "threshold": np.float32(2)}

        return b"content", call

    monkeypatch.setitem(export_graph.EXPORTERS, "onnx", toy)
    soundfile.write(tmp_path / "a.wav", sound(0, 0.5) + 0.05, RATE, subtype="FLOAT")
    one = model(samples=4000)
    monkeypatch.setattr(export_graph, "_is_anomaly", lambda outputs: outputs["threshold"] > 0)
    for clips, count in ((None, 8), (str(tmp_path / "a.wav"), 9)):
        seen.clear()
        export_model(one, "onnx", tmp_path / "x", seconds=1.0, clips=clips)
        assert (tmp_path / "x").read_bytes() == b"content"
        assert sum(b for b, _ in seen) == count and {samples for _, samples in seen} == {4000}
        said = f"wrote {tmp_path / 'x'}; on {count} waveforms within 1.0e-05 of the original"
        assert " ".join(capsys.readouterr().out.split()) == said


@pytest.mark.parametrize(("seconds", "samples"), [(None, None), (0.5, 8000)])
def test_an_encoder_is_exported_with_its_origin_for_one_length_or_any(
    encoder_file, seconds, samples
):
    found = model_of_weights(encoder_file, seconds=seconds)
    assert found.about == {
        "kind": "encoder",
        "sample_rate": RATE,
        "samples": samples,
        "outputs": ["embedding"],
        **origin_entries(encoder_file),
        "versions": {name: importlib.metadata.version(name) for name in ("flax", "jax")},
    }


def test_the_function_of_an_encoder_computes_what_the_package_does(encoder_file):
    found = model_of_weights(encoder_file, seconds=0.2)
    waves = np.stack([sound(n, 0.2) for n in range(2)])
    original = found.original(waves)["embedding"]
    np.testing.assert_array_equal(original, load_pipeline(encoder_file).embed(waves))
    # measured 5e-7
    computed = jax.jit(found.function)(jnp.asarray(waves))
    assert np.abs(computed["embedding"] - original).max() < 1e-5


def test_a_detector_is_exported_for_windows_with_its_threshold(fitted, monkeypatch):
    monkeypatch.setattr(export_graph, "score_function", lambda detector: lambda wave: wave.mean(1))
    detector = Detector.load(fitted)
    found = model_of_detector(fitted)
    assert found.about == {
        "kind": "detector",
        "sample_rate": RATE,
        "samples": 2 * RATE,
        "outputs": ["score", "threshold"],
        **origin_entries(fitted),
        "versions": {name: importlib.metadata.version(name) for name in ("flax", "jax")},
        "recorded_rate": RATE,
    }
    waves = np.stack([sound(300), sound(301, fault=0.05)])
    original = found.original(waves)
    assert original["score"] == pytest.approx([detector.score(wave) for wave in waves], rel=1e-6)
    assert original["threshold"] == np.float32(detector.threshold)
    computed = found.function(waves)
    np.testing.assert_array_equal(computed["score"], waves.mean(1))
    assert computed["threshold"] == np.float32(detector.threshold)


def toy(samples=None):
    def function(wave):
        return {"score": jnp.mean(wave, 1), "threshold": jnp.float32(2)}

    about = {"kind": "toy", "sample_rate": RATE, "samples": samples}
    return Model(function, function, {**about, "outputs": ["score", "threshold"]})


def test_stablehlo_runs_on_every_platform_for_any_batch_and_any_length_of_a_frame_or_more():
    content, call = to_stablehlo(toy())
    exported = jax.export.deserialize(bytearray(content))
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}
    assert json.loads(exported.fun_name) == toy().about
    wave = np.linspace(0, 1, 3 * 400, dtype=np.float32).reshape(3, 400)
    found = call(wave)
    assert {type(value) for value in found.values()} == {np.ndarray}
    assert found["score"] == pytest.approx(wave.mean(1)) and found["threshold"] == 2
    with pytest.raises(ValueError, match="shapes"):
        call(wave[:, :399])
    _, call = to_stablehlo(toy(samples=500))
    assert call(np.ones((2, 500), np.float32))["score"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="shape|500"):
        call(wave)


def test_a_library_that_is_missing_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(export_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'asd_jax\[export\]' \(flatbuffers"):
        to_stablehlo(toy())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"--format=onnx: pip install 'asd_jax\[export\]'"):
        to_onnx(toy(samples=400))


def test_onnx_has_the_outputs_in_their_order_and_what_the_model_is(monkeypatch):
    asked = {}

    def onnx_model(function, shape, name, outputs, properties):
        asked.update(function=function, shape=shape, name=name, outputs=outputs, **properties)
        return types.SimpleNamespace(SerializeToString=lambda: b"graph")

    class Session:
        def __init__(self, content, providers):
            assert (content, providers) == (b"graph", ["CPUExecutionProvider"])

        def run(self, names, inputs):
            return [np.asarray(value) for value in asked["function"](inputs["wave"])]

    module = types.SimpleNamespace(onnx_model=onnx_model)
    monkeypatch.setitem(sys.modules, "asd_jax.training.onnx_model", module)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    content, call = to_onnx(toy(samples=400))
    found = call(np.ones((2, 400), np.float32))
    assert content == b"graph" and found["score"].tolist() == [1, 1] and found["threshold"] == 2
    assert (asked["shape"], asked["name"]) == (("batch", 400), "wave")
    assert asked["outputs"] == ["score", "threshold"]
    assert json.loads(asked["asd_jax"]) == toy(samples=400).about
