"""Runs that survive what happens to them, in this process and in others of their own."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import jax.numpy as jnp
import pytest

import asd_jax.evaluate
import asd_jax.run.embed
import asd_jax.run.score
import asd_jax.train
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import InUse, lock_folder
from asd_jax.training import loop
from asd_jax.training.checkpoint import Checkpoints
from benchmarks.kills import kills, left

SMOKE = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.depth=1",
    "--config.data.clip_seconds=0.5",
    "--config.log.checkpoint_every=2",
    "--config.optimizer.epochs=4",
    "--config.report.page=False",
    "--config.factory.train_source=6",
    "--config.factory.train_target=2",
    "--config.factory.test_per_condition=2",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    in_process(workdir)
    return workdir


@pytest.fixture(scope="module")
def undisturbed(finished):
    """Files that it left."""
    return left(finished)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it to do harm to, and the flags that go on with it."""
    workdir = shutil.copytree(finished, tmp_path / "run")
    return workdir, [*SMOKE, f"--workdir={workdir}"]


def in_process(workdir):
    from absl import flags

    from asd_jax.runtime.command import run

    before = set(flags.FLAGS)
    argv = sys.argv
    sys.argv = ["asd_jax.train", *SMOKE, f"--workdir={workdir}"]
    try:
        with pytest.raises(SystemExit) as stop:
            run(asd_jax.train.main, asd_jax.train.define_flags)
    finally:
        sys.argv = argv
        for name in set(flags.FLAGS) - before:
            if not name.startswith("grain"):
                delattr(flags.FLAGS, name)
    assert stop.value.code == 0


def terminating(function, at):
    """The function, which sends this process SIGTERM when it is called for the `at`-th time."""

    def wrapped(*arguments, **named):
        wrapped.calls += 1
        if wrapped.calls == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*arguments, **named)

    wrapped.calls = 0
    return wrapped


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [
        pytest.param(Checkpoints, "save", 1, marks=pytest.mark.slow),
        pytest.param(loop.Reports, "write", 3, marks=pytest.mark.slow),
        pytest.param(asd_jax.run.embed, "embed_machine", 2, marks=pytest.mark.slow),
        pytest.param(asd_jax.run.score, "score_machine", 2, marks=pytest.mark.slow),
    ],
    ids=["while a checkpoint is written", "while training", "while embedding", "while scoring"],
)
def test_sigterm_saves_and_the_printed_command_ends_as_if_undisturbed(
    undisturbed, command, monkeypatch, tmp_path, owner, name, at
):
    flags = [*SMOKE, f"--workdir={tmp_path / 'run'}"]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, terminating(getattr(owner, name), at))
        status, _, err = command(asd_jax.train, *flags)
    lines = err.splitlines()
    assert status == 1 and lines[-2].startswith("interrupted") and "Traceback" not in err
    assert lines[-1] == "  python -m asd_jax.train " + " ".join(flags)
    assert left(tmp_path / "run") != undisturbed and not (tmp_path / "run" / ".lock").exists()
    status, out, err = command(asd_jax.train, *flags)
    assert status == 0, err
    assert left(tmp_path / "run") == undisturbed
    assert (
        "continuing after step" in out
        if owner in (Checkpoints, loop.Reports)
        else "training is finished" in out
    )


def test_what_is_there_is_not_embedded_again(copied, undisturbed, command, monkeypatch):
    workdir, flags = copied
    embedded = []
    embed_machine = asd_jax.run.embed.embed_machine

    def counting(config, encoder, params, clips):
        embedded.append(clips[0].machine)
        return embed_machine(config, encoder, params, clips)

    monkeypatch.setattr(asd_jax.run.embed, "embed_machine", counting)
    status, out, _ = command(asd_jax.train, *flags)
    assert (
        status == 0
        and not embedded
        and "training is finished" in out
        and "32 clips were embedded before" in out
    )
    damaged = workdir / "embeddings" / "gearbox.npz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert command(asd_jax.train, *flags)[0] == 0 and embedded == ["gearbox"]
    clip = sorted((workdir / "factory" / "fan" / "test").glob("*.wav"))[0]
    os.utime(clip, ns=(0, 0))  # the recording was written again
    assert command(asd_jax.train, *flags)[0] == 0 and embedded == ["gearbox", "fan"]
    assert left(workdir) == undisturbed


@pytest.mark.slow
def test_damaged_weights_are_made_again_from_the_checkpoint(copied, undisturbed, command):
    workdir, flags = copied
    weights = workdir / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    status, out, _ = command(asd_jax.train, *flags)
    assert (
        status == 0
        and "WARNING" in out
        and "it is made again" in out
        and left(workdir) == undisturbed
    )


@pytest.mark.slow
def test_workdir_is_one_configs_until_overwritten(copied, undisturbed, command):
    workdir, flags = copied
    status, _, err = command(asd_jax.train, *flags, "--config.optimizer.learning_rate=0.1")
    assert (
        status == 2
        and "optimizer.learning_rate (0.001 there, 0.1 here)" in err
        and "--overwrite" in err
    )
    assert left(workdir) == undisturbed
    assert command(asd_jax.train, *flags, "--config.log.every=1")[0] == 0  # changes no number
    clips = sorted((workdir / "factory" / "fan" / "train").glob("*.wav"))
    flags.append("--config.optimizer.epochs=1")
    root = f"--config.data.root={workdir / 'factory'}"
    status, _, err = command(asd_jax.train, *flags, root, "--overwrite")
    assert status == 0 and clips[0].exists()  # what the run left is removed, nothing else
    clips[0].unlink()
    status, _, err = command(asd_jax.train, *flags, root)
    assert status == 2 and "other recordings of fan (16 there, 15 here)" in err


def test_overwriting_removes_the_runs_own_seeds_and_nothing_else(tmp_path):
    for name in ("seed_0", "seed_1", "seed_9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text("{}")
    (tmp_path / "seed_notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text('{"seeds": 2}')
    with lock_folder(tmp_path / "seed_1"), pytest.raises(InUse, match="seed_1 is in use"):
        Run(tmp_path).remove()
    Run(tmp_path).remove()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"seed_9/results.json", "seed_notes.txt"}


def test_an_interrupted_run_of_seeds_is_known_by_them(tmp_path):
    (tmp_path / "seed_0" / "checkpoints").mkdir(parents=True)
    (tmp_path / "seed_0" / "checkpoints" / "1").write_text("")
    (tmp_path / "config.json").write_text('{"seeds": 2}')
    with (
        pytest.raises(InputError, match="differs in seeds"),
        Run(tmp_path).claim({"seeds": 1}, []),
    ):
        raise AssertionError
    assert (tmp_path / "config.json").read_text() == '{"seeds": 2}'


def test_second_process_on_a_workdir_is_refused_and_a_killed_ones_lock_is_not(command, tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from asd_jax.runtime.lock import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    status, _, err = command(asd_jax.train, *SMOKE, f"--workdir={tmp_path}")
    assert status == 2 and f"is in use by process {other.pid} on {os.uname().nodename}" in err
    other.kill()
    other.wait()
    assert (tmp_path / ".lock").exists()
    with lock_folder(tmp_path):
        pass


@pytest.mark.slow
def test_full_disk_is_one_message_and_the_run_continues(
    undisturbed, command, monkeypatch, tmp_path
):
    flags = [*SMOKE, f"--workdir={tmp_path}"]
    save = Checkpoints.save
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(self, step, state):
        if step > 2:
            self._manager.wait_until_finished()
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        save(self, step, state)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        try:
            status, _, err = command(asd_jax.train, *flags)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert (
        status == 2
        and "checkpoints: a checkpoint cannot be written" in err
        and "Traceback" not in err
    )
    status, out, err = command(asd_jax.train, *flags)
    assert status == 0 and "continuing after step 2" in out and left(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("change", ["removed", "rewritten"])
def test_clip_that_changes_while_training_stops_the_run_without_loss(
    undisturbed, command, monkeypatch, tmp_path, change
):
    flags = [*SMOKE, f"--workdir={tmp_path / 'run'}"]
    clip = (
        tmp_path
        / "run"
        / "factory"
        / "fan"
        / "train"
        / "section_00_source_train_normal_0003_spd_1_load_0.wav"
    )
    write = loop.Reports.write
    kept = {}

    def disturb(reports):
        if reports.waiting and reports.waiting[0] == 1 and not kept:
            found = sorted(clip.parent.glob("*.wav"))
            for path in found:
                kept[path] = path.read_bytes(), path.stat().st_mtime_ns
                path.unlink() if change == "removed" else path.write_bytes(kept[path][0] + b"\0\0")
        write(reports)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Reports, "write", disturb)
        status, _, err = command(asd_jax.train, *flags, "--config.data.threads=1")
    assert status == 2 and "fan/train/section_00" in err and "Traceback" not in err
    assert ("no such file" in err) == (change == "removed") and ("changed since" in err) == (
        change == "rewritten"
    )
    for path, (content, time) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(time, time))
    status, out, err = command(asd_jax.train, *flags)
    assert status == 0 and "continuing after step" in out, err
    assert left(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_out_of_memory_says_which_batch_size_to_try(command, monkeypatch, tmp_path):
    def hungry(*_):
        return jnp.zeros(1 << 46)

    monkeypatch.setattr(loop, "guard_step", lambda *_, **__: hungry)
    status, _, err = command(asd_jax.train, *SMOKE, f"--workdir={tmp_path}")
    assert (
        status == 2
        and "out of memory with batches of 8 clips; try --config.optimizer.batch_size=4" in err
    )
    monkeypatch.undo()
    assert (
        command(asd_jax.train, *SMOKE, f"--workdir={tmp_path}", "--config.optimizer.batch_size=4")[
            0
        ]
        == 0
    )


def test_unfinished_run_is_not_scored(copied, command):
    workdir, _ = copied
    (workdir / "embeddings" / "gearbox.npz").unlink()
    status, _, err = command(asd_jax.evaluate, f"--workdir={workdir}")
    assert status == 2 and "no embeddings of gearbox yet" in err


@pytest.mark.slow
def test_killed_runs_end_as_the_undisturbed_one(tmp_path):
    found = kills(tmp_path, 2, seed=1)
    assert found["equal"] == found["kills"] == 2, json.dumps(found)
