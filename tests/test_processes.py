"""Two processes on this machine against one: the same losses and scores; one is killed, the run goes on with one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from asd_jax.errors import InputError
from asd_jax.processes import any_of, first, gather, join

RUN = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.depth=1",
    "--config.data.clip_seconds=0.5",
    "--config.factory.train_source=6",
    "--config.factory.train_target=2",
    "--config.factory.test_per_condition=2",
    "--config.log.every=1",
    "--config.log.checkpoint_every=2",
    "--config.report.page=False",
]


def start(workdir, *flags, processes):
    """So many processes of one run, each with one device."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    several = [[f"--coordinator={address}", f"--processes={processes}", f"--process={n}"] for n in range(processes)]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "asd_jax.train", *RUN, *flags, f"--workdir={workdir}", *own],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for own in (several if processes > 1 else [[]])
    ]


def ended(running):
    """(exit status, stderr, stdout) of each."""
    return [(*process.communicate(timeout=300), process.returncode)[::-1] for process in running]


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path):
    for workdir, processes in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        for status, err, _ in ended(start(workdir, "--config.parallel.shards=0", processes=processes)):
            assert status == 0, err
    alone, together = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert len(alone) == len(together) > 3
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(b["loss"], a["loss"], rtol=2e-6)
    for name in ("results.json", "embeddings/fan.npz", "weights.safetensors"):
        assert (tmp_path / "two" / name).exists()
    with np.load(tmp_path / "one/embeddings/fan.npz") as a, np.load(tmp_path / "two/embeddings/fan.npz") as b:
        assert a["files"].tolist() == b["files"].tolist()
        np.testing.assert_allclose(b["vectors"], a["vectors"], atol=1e-5 * np.abs(a["vectors"]).max())


@pytest.mark.slow
def test_when_the_first_is_killed_the_other_says_so_and_one_goes_on(tmp_path):
    running = start(tmp_path, "--config.optimizer.epochs=20", processes=2)
    while not (tmp_path / "checkpoints" / "4").exists():
        assert running[1].poll() is None
        time.sleep(0.1)
    running[0].send_signal(signal.SIGKILL)
    status, err, _ = ended(running)[1]
    assert status, err
    # Whichever comes first: our words, or those with which JAX ends a process whose coordinator is gone.
    assert "if another one ended, see why there. to continue:\n  python -m asd_jax.train" in err or (
        "another task died" in err
    )
    for status, err, _ in ended(start(tmp_path, "--config.optimizer.epochs=20", processes=1)):
        assert status == 0, err
    assert [row["step"] for row in lines(tmp_path)] == list(range(1, lines(tmp_path)[-1]["step"] + 1))


def test_numbers_that_do_not_fit_are_refused():
    for coordinator, processes, process in (("here:1", 2, 2), ("here", 2, 0), ("here:1", None, 0), ("", 2, 1)):
        with pytest.raises(InputError, match="give HOST:PORT of the first"):
            join(coordinator, processes, process)
    assert first() and any_of(True) and not any_of(False) and gather([1]) == [1]
