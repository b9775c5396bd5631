import dataclasses
import json

import jax
import numpy as np
import pytest

from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import TrainingLog
from asd_jax.training import fine_tuning
from asd_jax.training.clips import TrainingClips
from asd_jax.training.fine_tuning import fine_tune, subcentres
from asd_jax.training.loop import Job
from asd_jax.training.settings import FineTuning, Log
from asd_jax.training.weights import random_eat

CONFIG = EncoderConfig(
    FrontEnd(simam=SimAM("local")), EATConfig(32, 2, 2), Pooling(embedding_dim=16)
)
SETTINGS = FineTuning(epochs=4, batch_size=8, learning_rate=3e-3, mask_frames=8, mask_filters=8)
CLIPS = [Clip(f"{n}", "fan", "00", "train", "source", 0, f"tone_{n % 3}") for n in range(24)]


def read(clip):
    """A tone per class in noise."""
    rng = np.random.default_rng(int(clip.path))
    time = np.arange(8000) / 16000
    tone = np.sin(2 * np.pi * (500 + 1500 * int(clip.attribute[-1])) * time)
    return (0.1 * tone + 0.03 * rng.normal(size=8000)).astype(np.float32)


def run(
    workdir, settings=SETTINGS, *, read=read, resident=False, seed=0, checkpoint_every=200, **keep
):
    data = TrainingClips(CLIPS, read, resident=resident, threads=1)
    job = Job(workdir, seed=seed, log=Log(every=1, checkpoint_every=checkpoint_every))
    return fine_tune(CONFIG, None, data, settings, job, **keep)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    return workdir, run(workdir, checkpoint_every=5)


def test_loss_falls_and_classes_are_learnt(finished):
    rows = lines(finished[0])
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert np.mean([row["loss"] for row in rows[-3:]]) < 0.8 * np.mean(
        [row["loss"] for row in rows[:3]]
    )
    assert set(rows[0]) == {
        "step",
        "loss",
        "accuracy",
        "learning_rate",
        "gradient_norm",
        "clips_per_second",
    }


@pytest.mark.slow
def test_same_seed_same_weights_and_another_seed_others(finished, tmp_path):
    jax.tree.map(np.testing.assert_array_equal, run(tmp_path / "again"), finished[1])
    other = run(tmp_path / "other", seed=1)
    assert (
        np.abs(other["eat"]["patch"]["kernel"] - finished[1]["eat"]["patch"]["kernel"]).max() > 1e-3
    )


def test_interrupted_run_continues_bit_for_bit(finished, tmp_path):
    def failing(clip):
        failing.reads += 1
        if failing.reads > 60:  # two and a half epochs
            raise OSError("unplugged")
        return read(clip)

    failing.reads = 0
    with pytest.raises(OSError, match="unplugged"):
        run(tmp_path, read=failing, checkpoint_every=3)
    assert 0 < lines(tmp_path)[-1]["step"] < 12
    jax.tree.map(np.testing.assert_array_equal, run(tmp_path), finished[1])
    assert [row["step"] for row in lines(tmp_path)] == list(range(1, 13))
    for ours, theirs in zip(lines(tmp_path), lines(finished[0]), strict=True):
        assert ours["loss"] == theirs["loss"]


@pytest.mark.slow
def test_whatever_has_a_state_continues_bit_for_bit(tmp_path, monkeypatch):
    settings = dataclasses.replace(
        SETTINGS,
        strategy="gradual",
        ema=0.9,
        head="adacos",
        drop_path=0.2,
        layer_decay=0.65,
        accumulate=2,
    )
    whole = run(tmp_path / "whole", settings, resident=True)
    write = TrainingLog.write

    def failing(self, step, metrics):
        if step == 7:
            raise OSError("unplugged")
        write(self, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="unplugged"):
        patch.setattr(TrainingLog, "write", failing)
        run(tmp_path / "cut", settings, resident=True, checkpoint_every=3)
    jax.tree.map(
        np.testing.assert_array_equal, run(tmp_path / "cut", settings, resident=True), whole
    )
    losses = [
        {(row["step"], row["loss"]) for row in lines(tmp_path / name)} for name in ("cut", "whole")
    ]
    # all but the two lines that could not be written
    assert losses[0] < losses[1] and max(losses[0])[0] == 12


def test_finished_run_trains_no_further(finished):
    jax.tree.map(np.testing.assert_array_equal, run(finished[0]), finished[1])


def test_pretrained_weights_are_where_training_starts(tmp_path):
    eat = random_eat(CONFIG.eat, 7)
    settings = FineTuning(epochs=0)
    params = fine_tune(CONFIG, eat, TrainingClips(CLIPS, read), settings, Job(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, params["eat"], eat)


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="batch_size=100 is more than 4 x 24 clips"):
        run(tmp_path, FineTuning(epochs=4, batch_size=100))


def test_loss_that_is_not_finite_stops_the_run_and_names_the_clips(tmp_path):
    with pytest.raises(InputError, match=r"step .*: the loss is nan[\s\S]*clips:\n  \d+\n"):
        run(tmp_path, read=lambda clip: read(clip) * np.nan)


def test_everything_around_the_steps_is_that_of_the_settings(tmp_path, monkeypatch, capsys):
    """Only the loop is replaced, by one that takes no step."""
    seen = []

    def no_steps(steps, job):
        seen.append((steps, job))
        return steps.state

    monkeypatch.setattr(fine_tuning, "run_steps", no_steps)
    settings = dataclasses.replace(SETTINGS, on_bad_loss="skip", strategy="frozen")
    run(tmp_path, settings)
    steps, job = seen[0]
    assert (steps.total, steps.batch_size, steps.on_bad_loss) == (12, 8, "skip")
    assert job.workdir == tmp_path and int(steps.state.step) == 0
    assert steps.state.params["head"]["centres"].shape == (3, 16)
    assert "training on 24 clips, 3 classes, 12 steps of 8 clips\n" in capsys.readouterr().out


def test_windows_are_counted_beside_their_clips(capsys):
    fine_tuning._print_size([CLIPS[0], CLIPS[0], CLIPS[1]], 2, 5, 3)
    said = "training on 3 windows of 2 clips, 2 classes, 5 steps of 3 windows\n"
    assert capsys.readouterr().out == said


@pytest.mark.slow
def test_weights_are_kept_at_equal_distances_in_the_second_half(tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=8, snapshots=4)
    assert settings.total_steps(1000) == 8 and settings.snapshot_steps(8) == [5, 6, 7]
    assert FineTuning().snapshot_steps(100) == []
    kept = {}
    final = run(tmp_path, settings, keep=kept.__setitem__)
    assert sorted(kept) == [5, 6, 7]
    shorter = run(tmp_path / "to_5", dataclasses.replace(settings, snapshots=1), keep=kept.pop)
    jax.tree.map(np.testing.assert_array_equal, shorter, final)
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), kept[7], final)
    assert 0 < max(jax.tree.leaves(difference))


def test_only_classes_without_attribute_get_subcentres():
    classes = [("fan", "00", "speed_1"), ("pump", "00", "")]
    settings = FineTuning(subcentres=4, subcentres_of="without_attributes")
    assert subcentres(classes, settings) == (1, 4)
    assert subcentres(classes, dataclasses.replace(settings, subcentres_of="all")) == (4, 4)
