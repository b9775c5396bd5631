"""Two processes on this machine against one: the same losses, vectors and weights; one is killed,
either goes on.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import asd_jax.train
from asd_jax.config import PretrainConfig, read_config
from asd_jax.run.pretrain import pretrain
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.processes import any_process, gather, is_first, join
from asd_jax.training.weights import read_weights
from configs import pretrain_tiny

RUN = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.depth=1",
    "--config.data.clip_seconds=0.5",
    "--config.data.machines=fan",
    "--config.factory.train_source=6",
    "--config.factory.train_target=2",
    "--config.factory.test_per_condition=1",
    "--config.optimizer.epochs=8",
    "--config.parallel.shards=0",
    "--config.log.every=1",
    "--config.log.checkpoint_every=4",
    "--config.report.page=False",
]

# Instead of `-m asd_jax.train`: pre-trains too, embeds an archive of three shards, and says which
# files it wrote.
MORE = """
import os, time
from pathlib import Path
from asd_jax import train
from asd_jax.run import shards
from asd_jax.runtime import command, processes
from tests.runtime.test_processes import pretrain_in
from absl import flags

shards.SHARD, replace = 5, os.replace

def noted(source, target):
    replace(source, target)
    print("wrote", target)

def main():
    os.replace = noted
    train.main()
    pretrain_in(Path(flags.FLAGS.workdir) / "pretrained")
    time.sleep(processes.process_index())  # the first must not end before the others

command.run(main, train.define_flags)
"""


def pretrain_in(workdir):
    """A short run of pre-training on the recordings of the run beside it, shared out as RUN is."""
    config = pretrain_tiny.get_config("smoke")
    config.data.update(root=str(workdir.parent / "factory"), zoo_share=0.0)
    config.features.statistics = "given"
    config.model.update(depth=1, file_dtype="float32")
    config.optimizer.learning_rate = 1e-4
    config.parallel.shards = 0
    config.log.every = 1
    pretrain(read_config(PretrainConfig, config), workdir)


def start_two(workdir, cache, *program):
    """Both processes of one run, each with one device."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        several = [f"--coordinator=localhost:{free.getsockname()[1]}", "--processes=2"]
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, *program, *RUN, f"--workdir={workdir}", *several]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([*command, f"--process={n}"], env=environment, **pipes) for n in range(2)
    ]


def ended(running):
    """(exit status, stderr, stdout) of each."""
    return [(*process.communicate(timeout=600), process.returncode)[::-1] for process in running]


def steps(workdir):
    """Numbers and losses of the steps."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows], [row["loss"] for row in rows]


@pytest.fixture
def compiled_fast(monkeypatch):
    """Small programs that run for seconds: here and in the processes that start here."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
def test_two_processes_are_as_one_and_after_one_is_killed_either_number_goes_on(
    command, compiled_fast, tmp_path
):
    status, _, err = command(asd_jax.train, *RUN, f"--workdir={tmp_path / 'alone'}")
    assert status == 0, err
    pretrain_in(tmp_path / "alone/pretrained")
    running = start_two(tmp_path / "two", tmp_path / "cache", "-m", "asd_jax.train")
    while not (tmp_path / "two" / "checkpoints" / "4").exists():
        assert running[1].poll() is None
        time.sleep(0.02)
    running[0].send_signal(signal.SIGKILL)
    status, err, _ = ended(running)[1]
    assert (
        status
        and "the first process is gone" in err
        or "if another one ended, see why there" in err
    )
    # Jax may write a line of its own when it ends.
    assert "\n  python -m asd_jax.train --config=configs/quickstart.py:smoke" in err
    assert not (tmp_path / "two" / "results.json").exists()
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    done = ended(start_two(tmp_path / "two", tmp_path / "cache", "-c", MORE))
    assert [status for status, *_ in done] == [0, 0], done
    status, out, err = command(asd_jax.train, *RUN, f"--workdir={tmp_path / 'one'}")
    assert status == 0 and "continuing after step" in out, err
    for name in ("two", "one"):
        assert steps(tmp_path / name)[0] == list(range(1, 9))
        np.testing.assert_allclose(
            steps(tmp_path / name)[1], steps(tmp_path / "alone")[1], rtol=2e-6
        )
        with (
            np.load(tmp_path / name / "embeddings/fan.npz") as a,
            np.load(tmp_path / "alone/embeddings/fan.npz") as b,
        ):
            assert a["files"].tolist() == b["files"].tolist()
            np.testing.assert_allclose(
                a["vectors"], b["vectors"], atol=1e-5 * np.abs(b["vectors"]).max()
            )
        assert (tmp_path / name / "results.json").exists() and (
            tmp_path / name / "weights.safetensors"
        ).exists()
    wrote = [re.findall(r"^wrote (.+)$", out, re.MULTILINE) for *_, out in done]
    shards = [f"{tmp_path}/two/embeddings/shards/fan/{n:06}/made_of.json" for n in range(3)]
    assert set(shards) < set(wrote[0]) and not wrote[1], wrote
    assert not (tmp_path / "two/embeddings/shards").exists()
    alone, two = (tmp_path / name / "pretrained" for name in ("alone", "two"))
    np.testing.assert_allclose(steps(two)[1], steps(alone)[1], rtol=2e-6)  # 5.9e-7 measured
    (ours, header), (theirs, same) = (
        read_weights(folder / "weights.safetensors") for folder in (two, alone)
    )
    assert header == same and ours.keys() == theirs.keys()
    for name, weights in ours.items():
        np.testing.assert_allclose(weights, theirs[name], atol=4e-7)  # 2.0e-7 measured


@pytest.mark.slow
def test_where_nothing_tells_the_processes_of_each_other_auto_says_what_to_give():
    command = [
        sys.executable,
        "-m",
        "asd_jax.train",
        *RUN,
        "--workdir=nowhere",
        "--coordinator=auto",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--coordinator=auto: nothing here says how many" in done.stderr
    assert "give --coordinator=HOST:PORT --processes=N --process=I" in done.stderr


def test_numbers_that_do_not_fit_are_refused():
    for coordinator, processes, process in (
        ("here:1", 2, 2),
        ("here", 2, 0),
        ("here:1", None, 0),
        ("", 2, 1),
    ):
        with pytest.raises(InputError, match="give HOST:PORT of the first"):
            join(coordinator, processes, process)
    assert is_first() and any_process(True) and not any_process(False) and gather([1]) == [1]
