import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax import pretrain
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_encoder, load_pipeline, read_weights

SMOKE = "--config=configs/pretrain_tiny.py:smoke"
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


@pytest.fixture
def recordings(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / "sounds" / f"{n}.wav", rng.uniform(-0.1, 0.1, 30000), 16000)
    return tmp_path / "sounds"


def test_it_leaves_weights_that_embed(command, tmp_path):
    status, out, err = command(pretrain, SMOKE, f"--workdir={tmp_path}")
    assert status == 0, err
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6 and {"loss", "target_spread", "prediction_spread"} <= set(rows[-1])
    pipeline = load_pipeline(tmp_path / "weights.safetensors")
    assert pipeline.embed(np.zeros((2, 16000), np.float32)).shape == (2, 8, 64)
    assert pipeline.config.front_end.spacing == "even" and pipeline.config.front_end.mean != -4.268


@pytest.mark.slow
def test_recordings_and_zoo_mix_and_the_file_can_be_continued(command, tmp_path, recordings):
    flags = (SMOKE, f"--config.data.root={recordings}", "--config.data.zoo_share=0.5")
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'first'}")
    assert status == 0, err
    first = tmp_path / "first" / "weights.safetensors"
    flags += (
        f"--config.model.weights={first}",
        "--config.features.spacing=mel",
        "--config.optimizer.learning_rate=1e-9",
    )
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert status == 0, err
    second = tmp_path / "second" / "weights.safetensors"
    assert read_weights(second)[1]["source"] == "weights.safetensors"
    before, after = (load_encoder(path)[1]["block_0"]["fc1"]["kernel"] for path in (first, second))
    np.testing.assert_allclose(before, after, atol=1e-6)  # the learning rate is next to nothing
    left = second.read_bytes()
    first.write_bytes(left)
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert status == 2 and "began from other weights: sha256" in err
    soundfile.write(recordings / "new.wav", np.zeros(30000), 16000)
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert (
        status == 2
        and "other recordings of data.root (3 there, 4 here)" in err
        and second.read_bytes() == left
    )


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--config.data.zoo_share=0.5", "data.root"),
        ("--config.data.zoo_share=2", "zoo_share"),
        ("--config.data.frames=100", "data.frames"),
        ("--config.data.root=nowhere", "nowhere"),
        ("--config.pretraining.objective=beats", "objective"),
        ("--config.pretraining.mask_share=1.5", "mask_share"),
        ("--config.pretraining.mask_share=0", "mask_share=0 hides no patch"),
        ("--config.pretraining.objective=distill", "distill needs teachers"),
        ("--config.pretraining.teachers=a.b:c", "no other objective has any"),
        ("--config.data.mix_share=0.5", "set --config.data.mix_share=0"),
        ("--config.data.mix_low_db=20", "mix_low_db=20.0 must not exceed mix_high_db=15.0"),
        ("--config.pretraining.views=0", "pretraining.views=0 must be at least 1"),
        ("--config.pretraining.decoder_heads=3", "decoder_width"),
        ("--config.log.every=0", "log.every=0 must be at least 1"),
        ("--config.seed=-1", "seed=-1 must be at least 0"),
        ("--config.data.resampler=linear", "known: soxr, torchaudio"),
        ("--config.optimizer.on_bad_loss=hope", "known: stop, skip"),
        ("--config.optimizer.learning_rate=0", "optimizer.learning_rate"),
        ("--config.model.file_dtype=float8", "file_dtype"),
        ("--config.features.statistics=mine", "statistics"),
        ("--config.model.weights=none.safetensors", "none.safetensors"),
        ("--config.model.heads=7", "heads"),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_written(command, tmp_path, flag, named):
    status, _, err = command(pretrain, SMOKE, f"--workdir={tmp_path / 'run'}", flag)
    assert status == 2 and named in err and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_collapse_stops_the_run(command, tmp_path):
    flags = ("--config.pretraining.objective=eat", "--config.pretraining.decoder_groups=4")
    flags += ("--config.pretraining.least_spread=10", "--config.optimizer.warmup_fraction=0.5")
    status, _, err = command(pretrain, SMOKE, f"--workdir={tmp_path}", *flags)
    assert status == 2 and "collapsed" in err and "step 4" in err


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
    config = f"--config={Path(__file__).parents[1] / 'configs' / 'distill_tiny.py'}:smoke"
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


@pytest.mark.slow
def test_the_smoke_run_needs_no_teacher_but_the_encoder_of_the_package(command, tmp_path):
    status, _, err = command(pretrain, DISTILL, f"--workdir={tmp_path}")
    assert status == 0, err
    assert load_pipeline(tmp_path / "weights.safetensors").config.front_end.mean != -4.268
