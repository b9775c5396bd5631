"""Two processes on this machine against one: the same losses and scores; one is killed, the run goes on with either."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import asd_jax.train
from asd_jax.errors import InputError
from asd_jax.processes import any_of, first, gather, join

RUN = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.depth=1",
    "--config.data.clip_seconds=0.5",
    "--config.data.machines=fan",
    "--config.factory.train_source=6",
    "--config.factory.train_target=2",
    "--config.factory.test_per_condition=1",
    "--config.optimizer.epochs=16",
    "--config.parallel.shards=0",
    "--config.log.every=1",
    "--config.log.checkpoint_every=4",
    "--config.report.page=False",
]


def start_two(workdir, cache):
    """Both processes of one run, each with one device."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        several = [f"--coordinator=localhost:{free.getsockname()[1]}", "--processes=2"]
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "asd_jax.train", *RUN, f"--workdir={workdir}", *several]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([*command, f"--process={n}"], env=environment, **pipes) for n in range(2)]


def ended(running):
    """(exit status, stderr, stdout) of each."""
    return [(*process.communicate(timeout=600), process.returncode)[::-1] for process in running]


def steps(workdir):
    """Numbers and losses of the steps."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows], [row["loss"] for row in rows]


@pytest.mark.slow
def test_two_processes_are_as_one_and_after_one_is_killed_either_number_goes_on(command, tmp_path):
    status, _, err = command(asd_jax.train, *RUN, f"--workdir={tmp_path / 'alone'}")
    assert status == 0, err
    running = start_two(tmp_path / "two", tmp_path / "cache")
    while not (tmp_path / "two" / "checkpoints" / "4").exists():
        assert running[1].poll() is None
        time.sleep(0.02)
    running[0].send_signal(signal.SIGKILL)
    status, err, _ = ended(running)[1]
    assert status and "the first process is gone" in err or "if another one ended, see why there" in err
    assert err.splitlines()[-1].startswith("  python -m asd_jax.train --config=configs/quickstart.py:smoke")
    assert not (tmp_path / "two" / "results.json").exists()
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    for status, err, _ in ended(start_two(tmp_path / "two", tmp_path / "cache")):
        assert status == 0, err
    status, out, err = command(asd_jax.train, *RUN, f"--workdir={tmp_path / 'one'}")
    assert status == 0 and "continuing after step" in out, err
    for name in ("two", "one"):
        assert steps(tmp_path / name)[0] == list(range(1, 17))
        np.testing.assert_allclose(steps(tmp_path / name)[1], steps(tmp_path / "alone")[1], rtol=2e-6)
        with np.load(tmp_path / name / "embeddings/fan.npz") as a, np.load(tmp_path / "alone/embeddings/fan.npz") as b:
            assert a["files"].tolist() == b["files"].tolist()
            np.testing.assert_allclose(a["vectors"], b["vectors"], atol=1e-5 * np.abs(b["vectors"]).max())
        assert (tmp_path / name / "results.json").exists() and (tmp_path / name / "weights.safetensors").exists()


@pytest.mark.slow
def test_where_nothing_tells_the_processes_of_each_other_auto_says_what_to_give():
    command = [sys.executable, "-m", "asd_jax.train", *RUN, "--workdir=nowhere", "--coordinator=auto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--coordinator=auto: nothing here says how many" in done.stderr
    assert "give --coordinator=HOST:PORT --processes=N --process=I" in done.stderr


def test_numbers_that_do_not_fit_are_refused():
    for coordinator, processes, process in (("here:1", 2, 2), ("here", 2, 0), ("here:1", None, 0), ("", 2, 1)):
        with pytest.raises(InputError, match="give HOST:PORT of the first"):
            join(coordinator, processes, process)
    assert first() and any_of(True) and not any_of(False) and gather([1]) == [1]
