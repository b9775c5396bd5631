import dataclasses
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from asd_jax import pretrain
from asd_jax.config import PretrainConfig
from asd_jax.run.pretrain import SCALE_BATCHES, measured_scales
from asd_jax.runtime.errors import InputError

DISTILL = "--config=configs/distill_tiny.py:smoke"


def bands(waves, sample_rate):
    """A toy teacher: log power in eight bands, a frame each quarter of a clip."""
    spectrum = np.abs(np.fft.rfft(waves.reshape(len(waves), 4, -1))) ** 2
    parts = np.array_split(spectrum, 8, axis=2)
    return np.log(np.stack([part.mean(2) for part in parts], axis=2) + 1e-9)


@pytest.fixture
def teachers(monkeypatch):
    """A module of teachers, to which a test can add."""
    module = types.ModuleType("toy_teachers")
    module.bands = bands
    module.infinite = lambda waves, rate: bands(waves, rate) * np.inf
    module.one_clip = lambda waves, rate: bands(waves, rate)[0, 0]
    module.constant = lambda waves, rate: np.ones((len(waves), 3))
    monkeypatch.setitem(sys.modules, "toy_teachers", module)
    return module


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "distill needs teachers"),
        ("toy_teachers.bands", "write package.module:function"),
        ("toy_teachers:none", "has no attribute 'none'"),
        ("toy_teachers:infinite", "toy_teachers:infinite returned NaN or infinity"),
        ("toy_teachers:one_clip", "returned float32 of shape (8,) for 4 waveforms"),
        ("toy_teachers:constant", "toy_teachers:constant gives the same frame for every sound"),
        ("toy_teachers:bands,none.npz", "none.npz: not a readable npz file"),
        ("broken.npz", "broken.npz: not a readable npz file"),
        ("other.npz", "other.npz: has none of the 3 recordings"),
    ],
)
def test_what_is_no_teacher_is_named_before_anything_is_written(
    command, tmp_path, recordings, teachers, monkeypatch, name, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"PK")
    np.savez("other.npz", files=np.array(["a.wav"]), frames=[1], vectors=np.ones((1, 2)))
    config = f"--config={Path(__file__).parents[2] / 'configs' / 'distill_tiny.py'}:smoke"
    flags = ["--config.data.root=sounds", "--config.data.zoo_share=0.5"]
    flags += [f"--config.pretraining.teachers={name}", f"--workdir={tmp_path / 'run'}"]
    status, _, err = command(pretrain, config, *flags)
    assert status == 2 and said in " ".join(err.split()), err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_distillation_goes_on_where_it_was_interrupted_to_the_same_bytes(
    command, tmp_path, recordings, teachers
):
    names = np.array([f"{n}.wav" for n in range(3)])
    rng = np.random.default_rng(0)
    targets = {"files": names, "frames": np.full(3, 6), "vectors": rng.normal(size=(18, 5))}
    np.savez(tmp_path / "targets.npz", **targets)
    flags = [DISTILL, f"--config.data.root={recordings}", "--config.data.zoo_share=0.25"]
    flags += [f"--config.pretraining.teachers=toy_teachers:fails,{tmp_path / 'targets.npz'}"]
    flags += ["--config.data.pieces=2"]

    def run(workdir, fails_at=None):
        calls = []

        def fails(waves, rate):
            calls.append(len(waves))
            if len(calls) == fails_at:
                raise InputError("the teacher went home")
            return bands(waves, rate)

        teachers.fails = fails
        return command(pretrain, *flags, f"--workdir={tmp_path / workdir}")

    status, _, err = run("whole")
    assert status == 0, err
    # Six batches measure the scale, six the statistics; it fails in the fifth step.
    status, _, err = run("parts", fails_at=17)
    assert status == 2 and "the teacher went home" in err
    rows = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows][-1] < 6
    status, out, err = run("parts")
    assert status == 0, err
    whole, parts = (tmp_path / name / "weights.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    rows = [json.loads(row) for row in (tmp_path / "whole" / "metrics.jsonl").open()]
    assert {"loss", "explained_0", "explained_1", "prediction_spread"} <= set(rows[-1])
    np.savez(tmp_path / "targets.npz", **{**targets, "vectors": rng.normal(size=(18, 5))})
    status, _, err = run("parts")
    assert status == 2 and "began from other weights: targets" in err


@pytest.mark.slow
def test_a_student_of_a_constant_answer_has_collapsed(command, tmp_path, teachers):
    flags = [DISTILL, "--config.pretraining.teachers=toy_teachers:bands"]
    flags += ["--config.optimizer.learning_rate=1e-9", "--config.pretraining.least_spread=0.05"]
    flags += [f"--workdir={tmp_path}"]
    status, _, err = command(pretrain, *flags)
    assert status == 2 and "prediction_spread is" in err and "other teachers" in err


@pytest.mark.parametrize(
    ("name", "said"), [("", ""), ("toy_teachers:bands", "scale of the target")]
)
def test_only_a_run_with_teachers_says_that_it_measures_their_scale(
    monkeypatch, capsys, teachers, name, said
):
    asked = []

    def scales(names, batches):
        asked.append((list(names), list(batches)))
        return ()

    monkeypatch.setattr("asd_jax.run.pretrain.target_scales", scales)
    usual = PretrainConfig()
    objective = dataclasses.replace(
        usual.pretraining, objective="distill" if name else "eat", teachers=name
    )
    config = dataclasses.replace(usual, pretraining=objective)
    assert measured_scales(config, lambda start: iter(range(start, 100))) == ()
    assert asked == [([name] if name else [], list(range(SCALE_BATCHES)))]
    out = capsys.readouterr().out
    assert bool(out) == bool(said) and said in out
