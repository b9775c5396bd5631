"""Measures how time and memory grow with clips, machines, the bank, and the length of a stream.

    python -m benchmarks.growth --output=benchmarks/results
    python -m benchmarks.growth --clips=1000000 --steps=archive      one million clips, end to end

Embeddings are replaced by random vectors of 32 numbers: how long an encoder takes is in
benchmarks.throughput. Each step is done for several sizes; the exponent is the slope of log(CPU
seconds) over log(size) between the two largest, 1 for linear growth. Memory is what the step
allocates at its peak beyond its input, for the smallest and the largest size.
"""

import functools
import itertools
import json
import math
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.clips import Clip
from asd_jax.detector.rows import row, write_csv
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.views import FILTER_BANK
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.run.clips import mark_held_out
from asd_jax.run.score import load_tested, score_machines, write_scores
from asd_jax.run.sharded_rows import ShardedRows
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.bank_fitting import NormalSounds, Views, fit_normal_bank
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.evaluation import evaluate_system
from asd_jax.scoring.normal_bank import NormalBank
from asd_jax.scoring.normal_windows import NormalWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.results import results
from asd_jax.scoring.score_files import ScoredClip
from benchmarks.provenance import machine

FLAGS = flags.FLAGS
WIDTH = 32
CLIPS_OF_A_MACHINE = 1000  # of the archive, 990 of them normal, as in DCASE
Step = Callable[[], object]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("steps", [], "Steps to measure; default: all but archive.")
    flags.DEFINE_integer("clips", 1_000_000, "Number of clips of the archive.", lower_bound=2000)
    flags.DEFINE_string("output", None, "Folder for the JSON.")


def main() -> None:
    """Measures the steps, prints a line for each, and writes them."""
    if unknown := set(FLAGS.steps) - {*STEPS, "archive"}:
        raise InputError(
            f"--steps={sorted(unknown)[0]} is unknown; known: {', '.join(STEPS)}, archive"
        )
    found = {}
    for name in FLAGS.steps or STEPS:
        if name == "archive":
            found[name] = archive(FLAGS.clips)
        else:
            found[name] = growth(*STEPS[name])
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "growth.json", {"machine": machine(), "steps": found})


def growth(prepare: Callable[[int], Step], sizes: Sequence[int]) -> dict:
    """Returns the exponent, and {size: CPU seconds} and {size: peak bytes} of a step."""
    prepare(sizes[0])()  # imports and caches
    seconds = {}
    for size in sizes:
        step = prepare(size)
        began = time.process_time()
        step()
        seconds[size] = time.process_time() - began
    peak = {}
    for size in (sizes[0], sizes[-1]):
        step = prepare(size)
        tracemalloc.start()
        step()
        peak[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    small, large = sizes[-2:]
    exponent = math.log(seconds[large] / seconds[small]) / math.log(large / small)
    return {"exponent": round(exponent, 2), "cpu_seconds": seconds, "peak_bytes": peak}


def test_clips(back_end: str, n: int) -> Step:
    """Scoring n test clips of one machine against 500 normal ones."""
    made = _embeddings(500, n)
    return lambda: score_machine(made, Scoring(back_end=back_end))


def training_clips(n: int) -> Step:
    """Scoring 100 test clips against n normal ones, whose self-scores are computed."""
    made = _embeddings(n, 100)
    return lambda: score_machine(made, Scoring(decision="quantile"))


def clips(n: int) -> Step:
    """The official score of n clips of ten machines."""
    scored = _scored(10, n // 10)
    return lambda: evaluate_system("scores", scored, 2024)


def machines(n: int) -> Step:
    """The official score of n machines of 40 clips."""
    scored = _scored(n, 40)
    return lambda: evaluate_system("scores", scored, 2024)


def held_out(n: int) -> Step:
    """Choosing held-out clips among those of n machines."""
    known = [
        Clip(
            path=f"{number}.wav",
            machine=f"machine{number // 10}",
            section="00",
            split="train",
            domain="source",
            label=0,
            attribute="",
        )
        for number in range(10 * n)
    ]
    return lambda: mark_held_out(known, 0.2, 0)


def sounds(n: int) -> Step:
    """A detector's scores of n windows."""
    bank = _bank(100)
    vectors = {"level": _vectors(n)}
    return lambda: bank.score(vectors)


def normal_sounds(n: int) -> Step:
    """Fitting a detector's bank to n normal sounds."""
    return lambda: _bank(n)


def stream(n: int) -> Step:
    """Watching a stream of n windows, one event in a hundred."""
    scores = itertools.cycle([0.0] * 99 + [9.0])
    watching = WatchSettings(
        1000, 1.0, 1.0, threshold=5.0, release=1.0, confirm=1, hold_seconds=1.0
    )
    watch = Watch(watching, lambda _: next(scores), lambda _: 0.5)
    window = np.zeros(1000, np.float32)

    def step():
        for number in range(n):
            for _ in watch.window(float(number), window):
                pass

    return step


def archive(count: int) -> dict:
    """Returns the growth of evaluating an archive, and of scoring it with a detector.

    Both are the code that the commands run, from files to files, for a quarter and for the whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        sizes = (count // 4, count)
        steps = {"evaluate": _evaluated, "detect": _detected}
        return {
            name: growth(functools.partial(step, Path(folder)), sizes)
            for name, step in steps.items()
        }


def _evaluated(folder: Path, count: int) -> Step:
    """Evaluating the embeddings of count / 1000 machines."""
    own = folder / f"embeddings_{count}"
    machines = count // CLIPS_OF_A_MACHINE
    for number in range(0 if own.exists() else machines):
        made = _embeddings(600, CLIPS_OF_A_MACHINE - 600)
        made.save(own / f"machine{number}.npz")
    scoring = Scoring(decision="quantile")

    def step():
        scored = score_machines(load_tested(own)[0], scoring)
        write_scores(scored, folder / "scores", 2024)
        write_json(folder / "results.json", results(scored, scoring, 2024))

    return step


def _detected(folder: Path, count: int) -> Step:
    """Scoring recordings whose verdict is replaced, shard by shard, into a csv."""
    paths = [Path(f"recordings/{number:07}.wav") for number in range(count)]
    workdir = folder / f"shards_{count}_{time.monotonic_ns()}"
    verdict = Verdict(
        score=1.0,
        threshold=2.0,
        p_value=0.5,
        is_anomaly=False,
        worst_seconds=(0.0, 1.0),
        view="level",
        windows=np.ones(1),
    )

    def rows_of(part):
        return (row(str(path), verdict) for path in part)

    def step():
        rows = ShardedRows(workdir, ("detector", "mean"), paths, rows_of)
        write_csv(folder / "scores.csv", rows)

    return step


def _vectors(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, WIDTH)).astype(np.float32)


def _embeddings(train: int, test: int) -> Embeddings:
    n = train + test
    number = np.arange(n)
    return Embeddings(
        vectors=_vectors(n),
        files=np.char.add(number.astype(str), ".wav"),
        section=np.full(n, "00"),
        split=np.where(number < train, "train", "test"),
        domain=np.where(number % 2, "source", "target"),
        label=np.where(number < train, 0, number // 2 % 2),
        attribute=np.full(n, ""),
    )


def _scored(count: int, each: int) -> list[ScoredClip]:
    scores = np.random.default_rng(0).normal(size=(count, each))
    domains = ("source", "target")
    return [
        ScoredClip(
            machine=f"machine{m}",
            section="00",
            file=f"{c}",
            domain=domains[c % 2],
            label=c // 2 % 2,
            score=scores[m, c],
            decision=None,
        )
        for m in range(count)
        for c in range(each)
    ]


def _bank(n: int) -> NormalBank:
    windows = NormalWindows.of_recordings(np.arange(n))
    sounds = NormalSounds(windows, {"level": _vectors(n)})
    return fit_normal_bank(Views({"level": FILTER_BANK}), sounds)


STEPS: dict[str, tuple[Callable[[int], Step], tuple[int, ...]]] = {
    "test clips by knn": (functools.partial(test_clips, "knn"), (4_000, 16_000, 64_000)),
    "test clips by mahalanobis": (
        functools.partial(test_clips, "mahalanobis"),
        (16_000, 64_000, 256_000),
    ),
    "training clips": (training_clips, (2_000, 4_000, 8_000)),
    "clips of the official score": (clips, (10_000, 40_000, 160_000)),
    "machines of the official score": (machines, (100, 400, 1_600)),
    "machines with held-out clips": (held_out, (1_000, 4_000, 16_000)),
    "sounds of a detector": (sounds, (4_000, 16_000, 64_000)),
    "normal sounds of a detector": (normal_sounds, (400, 800, 1_600)),
    "windows of a stream": (stream, (4_000, 16_000, 64_000)),
}


if __name__ == "__main__":
    run(main, define_flags)
