import json
import re
import sys
import types

import numpy as np
import pytest

import benchmarks.encoders
import benchmarks.grid
from asd_jax.data.factory import write_factory
from asd_jax.models.eat import EATConfig
from asd_jax.runtime.functions import named_function
from asd_jax.training.weights import load_pipeline, random_eat, save_encoder, save_weights

SMOKE = ["--config=configs/base.py:smoke", "--config.data.machines=fan"]


def level(waves, sample_rate):
    assert isinstance(waves, np.ndarray) and waves.flags.writeable  # a framework may take no other
    assert waves.dtype == np.float32 and waves.ndim == 2 and sample_rate == 16000
    return np.log(np.abs(waves).reshape(len(waves), 10, -1).mean(-1))


ENCODERS = {
    "level": level,
    "by_frame": lambda waves, rate: np.stack(
        [level(waves, rate)] * 3, axis=1
    ),  # (b, t, e): same mean over t
    "too_few": lambda waves, rate: level(waves, rate)[1:],
    "one_number": lambda waves, rate: waves.mean(),
    "infinite": lambda waves, rate: level(waves, rate) / 0.0,
}


@pytest.fixture
def root(tmp_path):
    write_factory(
        tmp_path / "f",
        clip_seconds=1.0,
        machines=["fan"],
        train_source=6,
        train_target=3,
        test_per_condition=4,
    )
    return f"--config.data.root={tmp_path / 'f'}"


@pytest.fixture
def fake(monkeypatch):
    module = types.ModuleType("fake_encoders")
    vars(module).update(ENCODERS)
    monkeypatch.setitem(sys.modules, "fake_encoders", module)


def test_any_function_is_scored_as_ours_are_and_a_second_run_changes_nothing(
    command, fake, root, tmp_path, encoder_file
):
    names = "--encoder=fake_encoders:level,fake_encoders:by_frame"
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(encoder_file.read_bytes())
    flags = [*SMOKE, root, f"--output={tmp_path / 'o'}", names, f"--weights={weights}"]
    status, out, err = command(benchmarks.encoders, *flags)
    assert status == 0, err
    written = (tmp_path / "o" / "encoders.json").read_bytes()
    cells = json.loads(written)["cells"]
    assert set(cells) == {
        "filter bank",
        "random weights",
        "fake_encoders:level",
        "fake_encoders:by_frame",
    }
    assert (
        cells["fake_encoders:level"] == cells["fake_encoders:by_frame"]
        and "not distinguishable" in out
    )
    html = (tmp_path / "o" / "report" / "index.html").read_text()
    assert f"{100 * cells['fake_encoders:level']['official_score']:.2f}" in html
    # Interrupted anywhere: a cell is lost, another half done.
    folders = sorted((tmp_path / "o" / "cells").glob("*/seed_0"))
    (folders[0] / "seconds.json").unlink()
    (folders[1] / "seconds.json").unlink()
    (folders[1] / "embeddings" / "fan.npz").unlink()
    kept = (folders[2] / "embeddings" / "fan.npz").stat().st_mtime_ns
    assert command(benchmarks.encoders, *flags)[0] == 0
    assert (tmp_path / "o" / "encoders.json").read_bytes() == written
    assert (folders[2] / "embeddings" / "fan.npz").stat().st_mtime_ns == kept
    status, _, err = command(benchmarks.encoders, *flags, "--config.data.clip_seconds=0.5")
    assert status == 2 and "data.clip_seconds (1.0 there, 0.5 here)" in err
    # The flags are the command's own.
    assert "another --output (or --cells)" in " ".join(err.split()) and "--workdir" not in err
    next((tmp_path / "f" / "fan" / "test").iterdir()).unlink()
    status, _, err = command(benchmarks.encoders, *flags)
    assert status == 2 and "was made of other recordings than are there now" in err
    pipeline = load_pipeline(encoder_file)
    save_encoder(weights, pipeline.config, {"eat": random_eat(pipeline.config.eat, 1)})
    status, _, err = command(benchmarks.encoders, *flags)
    assert status == 2 and "was made of other weights and recordings than are there now" in err
    weights.unlink()
    status, _, err = command(benchmarks.encoders, *flags)
    assert status == 2 and "no such weight file" in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "--encoder=package.module:function is needed"),
        ("fake_encoders.level", "write package.module:function"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("fake_encoders:nothing", "has no attribute 'nothing'"),
        (
            "fake_encoders:too_few",
            r"shape \(7, 10\) for 8 waveforms; expected float32 \(8, e\) or \(8, t, e\)",
        ),
        ("fake_encoders:one_number", r"shape \(\) for 8 waveforms"),
        ("fake_encoders:infinite", "returned NaN or infinity"),
    ],
)
def test_what_is_no_encoder_is_said(command, fake, root, tmp_path, name, message, monkeypatch):
    monkeypatch.setattr(benchmarks.grid, "standing_cells", lambda: [])  # straight to the encoder
    flags = [*SMOKE, root, f"--output={tmp_path / 'o'}", f"--encoder={name}"]
    with np.errstate(divide="ignore"):
        status, _, err = command(benchmarks.encoders, *flags)
    assert status == 2 and re.search(message, err), err


def test_an_onnx_file_embeds_what_it_was_made_to(monkeypatch, tmp_path):
    from onnx import TensorProto, helper, save

    from benchmarks.examples import onnx_file

    nodes = [
        helper.make_node("Abs", ["wave"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=[1], keepdims=1),
    ]
    wave = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["b", "s"])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["b", 1])
    graph = helper.make_graph(nodes, "level", [wave], [mean])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "a.onnx",
    )
    waves = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    monkeypatch.setenv("ONNX_ENCODER", str(tmp_path / "a.onnx"))
    onnx_file.session.cache_clear()
    assert onnx_file.embed(waves, 16000) == pytest.approx(
        np.abs(waves).mean(1, keepdims=True), rel=1e-6
    )
    monkeypatch.setenv("ONNX_ENCODER", str(tmp_path / "none.onnx"))
    onnx_file.session.cache_clear()
    with pytest.raises(benchmarks.encoders.InputError, match="names no file"):
        onnx_file.embed(waves, 16000)


def test_a_bare_eat_teaches_on_the_filter_bank_of_the_public_ones(tmp_path, monkeypatch):
    from benchmarks.examples import eat_file

    sizes = EATConfig(32, 1, 2)
    header = {"kind": "eat", "eat": vars(sizes)}
    save_weights(tmp_path / "eat.safetensors", random_eat(sizes, 0), header)
    monkeypatch.setenv("EAT_ENCODER", str(tmp_path / "eat.safetensors"))
    eat_file.model.cache_clear()
    front, config, _ = eat_file.model()
    eat_file.model.cache_clear()
    assert config == sizes and (front.spacing, front.simam.mode) == ("mel", "none")


@pytest.mark.torch
def test_a_torch_encoder_is_scored_and_gives_the_spectrum(command, root, tmp_path):
    name = "benchmarks.examples.torch_statistics:embed"
    status, _, err = command(
        benchmarks.encoders, *SMOKE, root, f"--output={tmp_path / 'o'}", f"--encoder={name}"
    )
    assert status == 0, err
    assert (
        0
        <= json.loads((tmp_path / "o" / "encoders.json").read_text())["cells"][name][
            "official_score"
        ]
        <= 1
    )
    waves = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    found = named_function(name, "--encoder")(waves, 16000)
    hann = np.sin(np.pi * np.arange(512) / 512) ** 2
    frames = np.lib.stride_tricks.sliding_window_view(waves.astype(np.float64), 512, axis=1)[
        :, ::256
    ]
    expected = np.log(np.abs(np.fft.rfft(frames * hann)) ** 2 + 1e-10)
    assert found == pytest.approx(expected, abs=0.02)  # measured: 7e-3, where the power is smallest
