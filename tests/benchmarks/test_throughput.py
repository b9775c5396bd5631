import dataclasses
import functools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from asd_jax.data.dcase import EDITIONS
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.runtime.errors import InputError
from benchmarks import cost_model, stages, throughput
from benchmarks.provenance import machine

README = Path(__file__).parents[2] / "benchmarks" / "README.md"


def test_counted_operations_are_the_compilers():
    small = EATConfig(64, 2, 2)
    x = jnp.zeros((1, 1024, 128))
    params = jax.eval_shape(EAT(small).init, jax.random.key(0), x)["params"]
    compiled = jax.jit(EAT(small, attention="exact").apply).lower({"params": params}, x).compile()
    # with norms, softmax and GELU, which the model leaves out
    counted = compiled.cost_analysis()["flops"]
    assert cost_model.forward_flops(small) == pytest.approx(counted, rel=0.15)
    assert cost_model.forward_flops(EATConfig.base()) == pytest.approx(97.1e9, rel=1e-3)


def test_the_experiment_is_what_the_config_says():
    flops, one = cost_model.experiment(EATConfig.base(), 1)
    assert flops == pytest.approx(
        (160_000 * 3 + 19_200) * cost_model.forward_flops(EATConfig.base()) / 1e15
    )
    assert one / 8 < cost_model.experiment(EATConfig.base(), 8)[1] < one / 7


def test_the_readmes_cost_model_is_generated(tmp_path):
    assert cost_model.tables() in README.read_text()
    (tmp_path / "no_markers.md").write_text("text")
    with pytest.raises(InputError, match="has no lines <!-- cost model -->"):
        cost_model.write_between(tmp_path / "no_markers.md", "cost model", "table")
    with pytest.raises(InputError, match="missing.md: cannot be read"):
        cost_model.write_between(tmp_path / "missing.md", "cost model", "table")


@pytest.mark.slow
def test_scanned_blocks_give_the_same_tokens():
    small = EATConfig(64, 3, 2)
    x = jax.random.normal(jax.random.key(0), (2, 64, 128))
    params = EAT(small).init(jax.random.key(1), x)["params"]
    tokens = EAT(small).apply({"params": params}, x)[0]
    assert abs(stages.scanned(small, jnp.float32, params, x) - tokens).max() < 1e-6  # measured 0


def test_figures_of_another_machine_are_not_compared(tmp_path, command):
    earlier = {"machine": machine() | {"device": "NVIDIA H100"}, "groups": []}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    status, _, error = command(throughput, f"--against={tmp_path / 'earlier.json'}")
    assert status == 2 and "measured on another machine (device 'NVIDIA H100', here" in error


def test_unknown_stages_are_refused(command):
    status, _, error = command(throughput, "--stages=backward")
    assert (
        status == 2
        and "--stages: backward is unknown; known: front_end, forward, forward_scanned, train"
        in error
    )


@pytest.mark.slow
def test_a_run_leaves_every_stage_and_the_experiment(tmp_path, command, monkeypatch):
    monkeypatch.setattr(EATConfig, "tiny", lambda: EATConfig(64, 2, 2))
    monkeypatch.setattr(stages, "matmul_rate", functools.partial(stages.matmul_rate, products=1))
    fan = dataclasses.replace(EDITIONS[2024], dev={"fan": EDITIONS[2024].dev["fan"]}, evaluation={})
    monkeypatch.setitem(EDITIONS, 2024, fan)
    flags = [
        "--sizes=tiny",
        "--batches=2",
        "--repeats=2",
        "--torch=",
        f"--output={tmp_path}",
        "--minutes=60",
    ]
    status, out, _ = command(throughput, *flags, "--experiment=dcase2024", "--clips_per_machine=32")
    assert status == 0
    (left,) = tmp_path.glob("throughput_*.json")
    result = json.loads(left.read_text())
    assert [g["stage"] for g in result["groups"]] == [*throughput.stages.STAGES, "pipeline"]
    for found in result["groups"]:
        assert found["clips_per_second"] > 0 and found["seconds"]["asd_jax"]["least"] > 0
    assert (
        len(result["groups"][1]["profile_seconds"]) == 7
        and 0 < result["groups"][1]["share_of_matmul"] < 2
    )
    assert (
        result["experiment"]["parts"]["embedding_clips_per_second"] > 0 and not result["left_out"]
    )
    assert (
        "| forward tiny float32 x 2 |" in left.with_suffix(".md").read_text()
        and "DCASE 2024" in out
    )
    status, out, _ = command(
        throughput, *flags, "--stages=forward", f"--against={left}", "--minutes=0"
    )
    assert status == 0 and "Left out for lack of time: forward tiny float32 2" in out
    assert json.loads(left.read_text())["left_out"] == ["forward tiny float32 2"]


def test_exported_says_which_runtime_is_missing(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    # Another test may have imported them while jax2onnx was there.
    for module in ("benchmarks.exported_stages", "asd_jax.training.onnx_model"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    status, _, error = command(throughput, "--exported", "--torch=")
    assert (
        status == 2 and "--exported: pip install 'asd_jax[export]'" in error and "jax2onnx" in error
    )


@pytest.mark.slow
def test_other_runtimes_are_timed_and_score_alike(tmp_path, command, encoder_file, monkeypatch):
    from benchmarks import exported_stages

    counts = {"machines": ["fan"], "train_source": 8, "train_target": 2, "test_per_condition": 3}
    few = functools.partial(exported_stages.scores, tmp_path, encoder_file, **counts)
    monkeypatch.setattr(throughput, "exported_scores", few)
    monkeypatch.setattr(EATConfig, "tiny", lambda: EATConfig(64, 1, 2))
    flags = [
        "--sizes=tiny",
        "--batches=2",
        "--repeats=1",
        "--torch=",
        "--noprofile",
        f"--output={tmp_path}",
    ]
    status, out, error = command(throughput, *flags, "--exported", "--stages=forward")
    assert status == 0, error
    (left,) = tmp_path.glob("throughput_*.json")
    result = json.loads(left.read_text())
    ways = {
        "onnxruntime float32",
        "openvino float32",
        "onnxruntime int8",
        "openvino int8",
        "asd_jax",
    }
    assert ways <= set(result["groups"][0]["seconds"]) and "by every runtime" in out
    found = result["exported_scores"]
    assert (
        ways <= set(found)
        and found["asd_jax"] == found["onnxruntime float32"] == found["openvino float32"]
    )
    assert all(abs(value - found["asd_jax"]) < 0.1 for value in found.values())
