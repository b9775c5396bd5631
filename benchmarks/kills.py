"""Counts how many runs that were killed at a random moment end byte for byte like an undisturbed
one.

    python -m benchmarks.kills --output=DIR

The command trains and scores the quick start's smoke run once. For each kill, it then starts the
run in a new workdir, kills it (SIGKILL) at a moment drawn uniformly from its duration, lets the
same command finish, and compares weights, embeddings, scores and results with those of the
undisturbed run. If they differ (on GPUs, without XLA_FLAGS=--xla_gpu_deterministic_ops=true), it
reports the difference of the weights. It writes kills.json, and takes about 15 s per kill on two
CPU cores.
"""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256, write_json
from asd_jax.training.weights import read_weights
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
SAME = (
    "weights.safetensors",
    "embeddings/*.npz",
    "embeddings/*/*.npz",
    "scores/*.csv",
    "results.json",
)
STEPS = ("--config.optimizer.epochs=12", "--config.log.every=1", "--config.log.checkpoint_every=3")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("kills", 20, "Number of kills.")
    flags.DEFINE_enum("signal", "KILL", ["KILL", "TERM"], "Signal sent to the run.")
    flags.DEFINE_integer("seed", 0, "Seed of the moments.")
    flags.DEFINE_string("output", None, "Folder for kills.json; nothing is written without it.")


def main() -> None:
    """Prints and writes the counts."""
    with tempfile.TemporaryDirectory() as folder:
        result = kills(Path(folder), FLAGS.kills, getattr(signal, f"SIG{FLAGS.signal}"), FLAGS.seed)
    print(json.dumps(result, indent=1))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "kills.json", result | provenance())


def kills(folder: Path, count: int, number: signal.Signals = signal.SIGKILL, seed: int = 0) -> dict:
    """Kills `count` runs, and returns how many were hit while working, at which stage, and how many
    ended like the undisturbed one.
    """
    # The first run fills the compilation cache.
    finish(folder / "warm", folder)
    begin = time.perf_counter()
    finish(folder / "undisturbed", folder)
    seconds = time.perf_counter() - begin
    wanted = left(folder / "undisturbed")
    rng = random.Random(seed)
    equal = 0
    moments = collections.Counter()
    for turn in range(count):
        workdir = folder / f"killed_{turn}"
        process = start(workdir, folder)
        after = rng.uniform(0, seconds)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.wait()
        moment = doing(workdir, process.returncode)
        finish(workdir, folder)
        equal += (same := left(workdir) == wanted)
        moments[moment] += 1
        end = (
            "equal"
            if same
            else f"DIFFERENT, weights by {difference(workdir, folder / 'undisturbed'):.3g}"
        )
        print(f"{turn + 1}/{count}  after {after:.1f} s, {moment}: {end}", flush=True)
    return {
        "kills": count,
        "signal": number.name,
        "equal": equal,
        "run_seconds": round(seconds, 1),
        "hit": dict(moments),
    }


def start(workdir: Path, folder: Path) -> subprocess.Popen:
    """Starts the run in its own process, with its output in a file next to the workdir."""
    command = [
        sys.executable,
        "-m",
        "asd_jax.train",
        "--config=configs/quickstart.py:smoke",
        *STEPS,
    ]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    with open(workdir.with_suffix(".txt"), "a") as out:
        return subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            cwd=Path(__file__).parent.parent,
            env=os.environ | cache,
            stdout=out,
            stderr=out,
        )


def finish(workdir: Path, folder: Path) -> None:
    """Runs to the end.

    Raises:
        InputError: The run does not finish.
    """
    if start(workdir, folder).wait():
        raise InputError(
            f"the run did not finish: {workdir.with_suffix('.txt').read_text()[-2000:]}"
        )


def left(workdir: Path) -> dict[str, str]:
    """Returns the hash of every file whose bytes must not depend on interruptions."""
    return {
        str(p.relative_to(workdir)): file_sha256(p)
        for pattern in SAME
        for p in sorted(workdir.glob(pattern))
    }


def difference(ours: Path, theirs: Path) -> float:
    """Returns the largest difference between the weights of two runs, relative to the largest
    weight of the tensor.
    """
    a, b = (read_weights(workdir / "weights.safetensors")[0] for workdir in (ours, theirs))
    return max(float(abs(a[name] - b[name]).max() / abs(b[name]).max().clip(1e-30)) for name in b)


def doing(workdir: Path, status: int) -> str:
    """Returns what a run was doing, judging by the files it left."""
    if status == 0:
        return "finished"
    for name, moment in (
        ("scores", "scoring"),
        ("embeddings", "embedding"),
        ("metrics.jsonl", "training"),
    ):
        if (workdir / name).exists():
            return moment
    return "starting"


if __name__ == "__main__":
    run(main, define_flags)
