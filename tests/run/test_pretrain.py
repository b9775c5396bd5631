import dataclasses
import itertools
import json
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from calls import Calls

from asd_jax import pretrain
from asd_jax.config import PretrainConfig, PretrainingData
from asd_jax.data.clips import Clip
from asd_jax.data.crops import Crop
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run import pretrain as module
from asd_jax.run.pretrain import measured_scales
from asd_jax.run.teachers import Teachers
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json
from asd_jax.runtime.settings import with_values
from asd_jax.training.loop import Job
from asd_jax.training.pretraining import CollapseWatch, Student
from asd_jax.training.weights import load_pipeline, origin_entries, random_eat, read_header

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
    assert asked == [([name] if name else [], list(range(16)))]
    out = capsys.readouterr().out
    assert bool(out) == bool(said) and said in out


SIZES = EATConfig(32, 2, 2)
SMALL = with_values(
    PretrainConfig(),
    {
        "model.size": "tiny",
        "model.width": 32,
        "model.depth": 2,
        "model.heads": 2,
        "data.frames": 64,
        "data.zoo_share": 1.0,
        "optimizer.batch_size": 4,
        "pretraining.steps": 5,
    },
)


@pytest.fixture
def calls(monkeypatch):
    return Calls(monkeypatch, module)


@pytest.fixture(scope="module")
def params():
    """The parameters that a training would give."""
    return random_eat(SIZES, 0)


def test_the_weight_file_is_of_the_config_and_a_run_is_replaced_on_request(
    calls, params, tmp_path, recordings, monkeypatch
):
    monkeypatch.setattr("asd_jax.training.mesh.chosen_device", lambda: None)
    front = FrontEnd("mel", mean=-5.0, simam=SimAM("none"), frames=64)
    for name, value in (("note_slow_dtype", None), ("front_end", front)):
        calls.answer(name, value)
    calls.answer("trained_params", params)
    values = {"model.file_dtype": "float16", "model.block": -1, "model.dtype": "bfloat16"}
    values |= {"seed": 3, "data.root": str(recordings), "data.zoo_share": 0.5, "log.every": 7}
    values |= {"optimizer.batch_size": 8, "parallel.shards": 2}
    config = with_values(SMALL, values)
    workdir = tmp_path / "run"
    path = module.pretrain(config, workdir)
    assert path == workdir / "weights.safetensors"
    assert load_pipeline(path).config == EncoderConfig(front, SIZES, Pooling("band_mean", -1, 0))
    kept = safetensors.numpy.load_file(path)
    assert {tensor.dtype for tensor in kept.values()} == {np.dtype("float16")}
    np.testing.assert_array_equal(kept["eat/cls"], np.asarray(params["cls"], np.float16))
    assert read_header(path)["source"] == "none"
    assert read_json(workdir / "pretrained.json") == {"source": "none"}
    assert read_json(workdir / "data.json")["data.root"]["clips"] == 3
    assert calls["note_slow_dtype"][0] == (config.model,)
    student, given, _, pretrained, job = calls["trained_params"][0]
    assert (student.config, student.settings) == (SIZES, config.settings)
    assert (student.dtype, student.scales, given, pretrained) == (jnp.bfloat16, (), front, None)
    assert (job.workdir, job.seed, job.dtype, job.log) == (workdir, 3, jnp.bfloat16, config.log)
    assert job.mesh.devices.shape == (4, 2)
    other = with_values(config, {"seed": 4})
    with pytest.raises(InputError, match="holds a run of another config; it differs in seed"):
        module.pretrain(other, workdir)
    module.pretrain(other, workdir, overwrite=True)
    assert read_json(workdir / "config.json")["seed"] == 4


def test_a_pre_training_without_recordings_has_no_clips(calls, params, tmp_path):
    calls.answer("trained_params", params)
    module.pretrain(SMALL, tmp_path)
    assert read_json(tmp_path / "data.json") == {}


def test_targets_of_other_recordings_are_other_weights_to_begin_from(
    calls, params, tmp_path, recordings, monkeypatch
):
    calls.answer("trained_params", params)
    calls.answer("measured_scales", ())
    monkeypatch.setattr(Teachers, "digests", {"targets a.npz": "1234"})
    module.pretrain(SMALL, tmp_path)
    noted = {"source": "none", "targets a.npz": "1234"}
    assert read_json(tmp_path / "pretrained.json") == noted


def test_the_steps_are_those_of_the_settings(calls, tmp_path):
    values = {"pretraining.steps": 40, "optimizer.on_bad_loss": "skip"}
    values |= {"pretraining.least_spread": 0.25, "optimizer.warmup_fraction": 0.5}
    settings = with_values(SMALL, values).settings
    calls.answer("make_pretraining_step", max)
    calls.answer("initial_state", "state")
    calls.answer("run_steps", types.SimpleNamespace(params={"eat": {"cls": jnp.ones(3)}}))
    asked = []

    def sounds(start):
        asked.append(start)
        yield {"wave": np.ones((4, 400), np.float32)}

    student = Student(SIZES, settings)
    job = Job(tmp_path, seed=3)
    found = module.trained_params(student, FrontEnd(), sounds, None, job)
    assert found["cls"].tolist() == [1, 1, 1]
    steps, given = calls["run_steps"][0]
    assert given is job
    assert (steps.take, steps.state, steps.total) == (max, "state", 40)
    assert (steps.batch_size, steps.on_bad_loss) == (4, "skip")
    assert steps.watch == CollapseWatch.of(settings)
    assert (steps.watch.least, steps.watch.after) == (0.25, 20)
    # The weights and the steps have keys of their own.
    keys = [jax.random.key_data(key).tolist() for key in (steps.key, calls["initial_state"][0][2])]
    assert keys[0] != keys[1] and keys[0] != jax.random.key_data(jax.random.key(3)).tolist()
    (batch,) = steps.batches(17)
    assert asked == [17] and batch["wave"].shape == (4, 400)


def test_recordings_are_noted_as_of_no_machine():
    assert module.clips_of_files([Path("a/b.wav")]) == [
        Clip("a/b.wav", "data.root", "", "train", "unknown", -1, "")
    ]


@pytest.fixture
def sounds(monkeypatch):
    """Synthetic clips of zeros and recorded crops of ones, of the lengths that are asked for."""

    def zoo_waves(key, *, clips, samples):
        return jnp.zeros((clips, samples))

    def recorded_crops(config, files, start):
        clips = config.optimizer.batch_size - module.clips_from_zoo(config, files)
        for step in itertools.count(start):
            crops = [Crop(n, 100 * step, 20_000, 1.0, 90_000) for n in range(clips)]
            yield np.arange(clips)[:, None] + np.linspace(1, 1.9, 20_000)[None], crops

    monkeypatch.setattr(module, "zoo_waves", zoo_waves)
    monkeypatch.setattr(module, "recorded_crops", recorded_crops)


def test_long_and_short_clips_alternate_and_the_steps_go_on_where_they_stopped(sounds):
    config = with_values(SMALL, {"data.pieces": 4})
    long = (4, FrontEnd().samples(64))
    short = (16, FrontEnd().samples(16))
    batches = [batch["wave"].shape for batch in module.sound_batches(config)(0)]
    assert batches == [long, short, long, short, long]
    assert [batch["wave"].shape for batch in module.sound_batches(config)(3)] == [short, long]
    # A number that does not divide the steps: every second step all the same.
    config = with_values(SMALL, {"data.pieces": 2})
    shapes = [batch["wave"].shape[0] for batch in module.sound_batches(config)(0)]
    assert shapes == [4, 8, 4, 8, 4]


def test_a_batch_has_its_share_of_synthetic_clips_and_recordings_cut_in_order(sounds, monkeypatch):
    config = with_values(
        SMALL, {"data.zoo_share": 0.25, "data.pieces": 2, "data.root": "d", "pretraining.steps": 2}
    )
    files = [Path("a.wav")]
    samples = [FrontEnd().samples(64), FrontEnd().samples(32)]
    whole, pieces = (batch["wave"] for batch in module.sound_batches(config, files)(0))
    assert whole.shape == (4, samples[0]) and pieces.shape == (8, samples[1])
    assert not whole[0].any() and not pieces[:2].any()
    ramp = np.linspace(1, 1.9, 20_000, dtype=np.float32)
    for n in range(3):
        np.testing.assert_allclose(whole[1 + n], n + ramp[: samples[0]], rtol=1e-6)
        for piece in range(2):
            part = ramp[piece * samples[1] : (piece + 1) * samples[1]]
            np.testing.assert_allclose(pieces[2 + 2 * n + piece], n + part, rtol=1e-6)
    # Recordings alone.
    alone = with_values(config, {"data.zoo_share": 0.0})
    assert next(module.sound_batches(alone, files)(0))["wave"].all()


def test_teachers_hear_of_every_clip_where_it_was_cut(sounds, monkeypatch, teachers):
    config = with_values(
        SMALL, {"data.zoo_share": 0.25, "data.pieces": 2, "data.root": "d", "pretraining.steps": 2}
    )
    told = []

    def distilled(key, wave, crops, data, teachers):
        assert len(wave) == len(crops)
        told.append(crops)
        return {"wave": wave}

    monkeypatch.setattr(module, "distilled_batch", distilled)
    names = ["toy_teachers:bands"]
    files = [Path("a.wav")]
    list(module.sound_batches(config, files, Teachers.load(names, "", files))(0))
    samples = FrontEnd().samples(32)
    assert told[0][0] is None and [crop.begin for crop in told[0][1:]] == [0, 0, 0]
    assert [None if crop is None else (crop.file, crop.begin) for crop in told[1]] == [
        None,
        None,
        *((n, 100 + piece * samples) for n in range(3) for piece in range(2)),
    ]
    told.clear()
    list(module.sound_batches(config, files, Teachers.load([], "", files))(0))
    assert not told


@pytest.mark.parametrize(
    ("values", "files", "said"),
    [
        ({"data.frames": 48, "data.pieces": 2}, 0, "data.frames=48 must be a positive multiple"),
        ({"data.zoo_share": 0.99}, 0, "--config.data.root names no folder of recordings"),
        ({"data.gain_db": 3.0}, 0, "data.gain_db=3.0: only objective=distill"),
        ({"data.root": "d"}, 1, "zoo_share=1.0 leaves no clip of a batch of 4"),
    ],
)
def test_sounds_that_do_not_fit_are_named(values, files, said):
    with pytest.raises(InputError, match=said):
        module.clips_from_zoo(with_values(SMALL, values), [Path("a.wav")] * files)


@pytest.mark.parametrize(
    ("values", "files", "clips"),
    [
        ({}, 0, 4),
        ({"data.frames": 64, "data.pieces": 4}, 0, 4),
        ({"data.zoo_share": 0.5, "data.root": "d"}, 1, 2),
        ({"data.zoo_share": 0.0, "data.root": "d"}, 1, 0),
        ({"data.root": "d"}, 0, 4),
    ],
)
def test_a_share_of_every_batch_comes_from_the_zoo(values, files, clips):
    config = with_values(SMALL, values)
    assert module.clips_from_zoo(config, [Path("a.wav")] * files) == clips


def test_only_distillation_may_change_the_sounds():
    objective = dataclasses.replace(
        SMALL.pretraining, objective="distill", teachers="toy_teachers:bands"
    )
    config = with_values(dataclasses.replace(SMALL, pretraining=objective), {"data.mix_share": 0.5})
    assert module.clips_from_zoo(config, []) == 4


def test_crops_are_long_enough_for_both_kinds_of_steps(calls):
    calls.answer("crop_batches", iter([]))
    values = {"data.root": "d", "data.zoo_share": 0.25, "data.pieces": 4, "data.threads": 3}
    config = with_values(SMALL, values | {"data.speed": 0.1, "seed": 6})
    files = [Path("a.wav")]
    module.recorded_crops(config, files, 3)
    (crops,), options = calls["crop_batches"]
    assert options == {"start": 3, "threads": 3}
    # Four pieces overlap less than one clip of as many frames.
    assert crops.samples == 4 * FrontEnd().samples(16) > FrontEnd().samples(64)
    assert (crops.files, crops.clips, crops.seed, crops.steps) == (files, 3, 6, 5)
    assert crops.speed == 0.1
    module.recorded_crops(with_values(config, {"data.pieces": 1}), files, 0)
    assert calls["crop_batches"][0][0].samples == FrontEnd().samples(64)


def test_mixtures_and_colours_are_those_of_the_config(calls, monkeypatch):
    clean = jnp.arange(8, dtype=jnp.float32).reshape(4, 2)
    calls.answer("mixtures", (clean, jnp.array([0.0, -1.0, 1.0, jnp.inf])))
    calls.answer("recolored", 2 * clean)
    asked = Calls(monkeypatch, Teachers)
    asked.answer("targets", {"target_0": np.ones(4)})
    data = PretrainingData(
        mix_share=0.5, mix_low_db=-3.0, mix_high_db=4.0, gain_db=5.0, equalizer_db=6.0
    )
    crops = [Crop(n, 0, 2, 1.0, 2) for n in range(4)]
    teachers = Teachers({}, Path("d"), [])
    batch = module.distilled_batch(jax.random.key(0), clean, crops, data, teachers)
    np.testing.assert_array_equal(batch["wave"], 2 * clean)
    assert batch["target_0"].tolist() == [1, 1, 1, 1]
    (_, shuffled), options = calls["mixtures"]
    assert options == {"share": 0.5, "low_db": -3.0, "high_db": 4.0}
    assert calls["recolored"][1] == {"gain_db": 5.0, "equalizer_db": 6.0}
    _, wave, places, prevails = asked["targets"][0]
    np.testing.assert_array_equal(wave, clean)
    # Clips and crops are put into the same order.
    assert [crop.file for crop in places] == (np.asarray(shuffled)[:, 0] / 2).tolist()
    assert prevails.tolist() == [True, False, True, True]


def test_the_front_end_is_of_the_config_or_measured_on_the_first_batches(calls, monkeypatch):
    asked = []

    def sounds(start):
        for n in itertools.count(start):
            asked.append(n)
            yield {"wave": n}

    def measured(front, waves):
        assert list(waves) == list(range(8)) and front.spacing == "mel"
        return -1.5, 2.5

    monkeypatch.setattr(module, "log_energy_statistics", measured)
    config = with_values(SMALL, {"features.spacing": "mel", "features.mean": -3.0})
    bare = FrontEnd("mel", mean=-3.0, simam=SimAM("none"), frames=64)
    assert module.front_end(config, sounds) == bare and not asked
    config = with_values(config, {"features.statistics": "train"})
    assert module.front_end(config, sounds) == dataclasses.replace(bare, mean=-1.5, std=2.5)
    assert asked == list(range(8))
    with pytest.raises(InputError, match="No module named 'no_such_module'"):
        module.front_end(with_values(config, {"features.spacing": "no_such_module:f"}), sounds)


@pytest.mark.parametrize("decoder", [None, {"w": 1}])
def test_a_decoder_continues_if_the_file_has_one_but_never_in_distillation(
    calls, encoder_file, decoder
):
    calls.answer("pretrained_eat", (SIZES, {"cls": 1}))
    calls.answer("load_decoder", decoder)
    config = with_values(SMALL, {"model.weights": str(encoder_file)})
    params, origin = module.initial_parameters(config, SIZES)
    own = {} if decoder is None else {"decoder": decoder}
    assert params == {"eat": {"cls": 1}, **own}
    assert origin == origin_entries(str(encoder_file))
    objective = dataclasses.replace(SMALL.pretraining, objective="distill", teachers="a:b")
    config = dataclasses.replace(config, pretraining=objective)
    assert module.initial_parameters(config, SIZES)[0] == {"eat": {"cls": 1}}
    calls.answer("pretrained_eat", None)
    assert module.initial_parameters(config, SIZES) == (None, {"source": "none"})
