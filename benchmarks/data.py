"""Measures how fast clips are found and read.

    python -m benchmarks.data --output=DIR

The command indexes a full-size tree of DCASE 2024 (16 machines x 1,200 names). It then reads
generated 10-s clips in three ways with the same threads in the same run: by plain soundfile
(float32), into an empty cache (decoded, checked and written as before training), and from the cache
(float32). Each figure is the median of `--repeats` alternating rounds, with the system's file cache
warm. The command writes data.json and takes a few seconds.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from absl import flags

from asd_jax.data.cache import ClipCache
from asd_jax.data.clips import find_clips
from asd_jax.data.dcase import EDITIONS
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json

FLAGS = flags.FLAGS


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("clips", 400, "Number of clips of 10 s to read.", lower_bound=1)
    flags.DEFINE_integer("threads", 2, "Number of threads that read.", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "Number of rounds; the median counts.", lower_bound=1)
    flags.DEFINE_string("output", None, "Folder for data.json; nothing is written without it.")


def main() -> None:
    """Prints and writes seconds and clips per second."""
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "threads": FLAGS.threads,
            **index_speed(Path(folder) / "tree"),
            **read_speed(Path(folder)),
        }
    print(json.dumps(result, indent=1))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "data.json", result)


def index_speed(root: Path) -> dict[str, float]:
    """Returns the seconds to find the clips of a tree as large as that of 2024."""
    write_names(root)
    seconds = []
    for _ in range(FLAGS.repeats):
        began = time.perf_counter()
        clips = find_clips(root)
        seconds.append(time.perf_counter() - began)
    return {"names": len(clips), "index_seconds": round(statistics.median(seconds), 3)}


def read_speed(folder: Path) -> dict[str, float]:
    """Returns the clips per second: plain, while filling the cache, and from the cache."""
    paths = write_clips(folder / "clips")
    seconds = {"plain": [], "first_pass": [], "cached": []}
    for turn in range(FLAGS.repeats + 1):
        cache = ClipCache(folder / f"cache_{turn}")
        ways = {
            "plain": lambda path: soundfile.read(path, dtype="float32"),
            "first_pass": cache.read_int16,
        }
        for name, read in (ways | {"cached": cache.read}).items():
            with ThreadPoolExecutor(FLAGS.threads) as pool:
                began = time.perf_counter()
                for _ in pool.map(read, paths):
                    pass
                seconds[name].append(time.perf_counter() - began)
    # The first round is a warm-up and is not counted.
    speed = {name: FLAGS.clips / statistics.median(times[1:]) for name, times in seconds.items()}
    ratio = speed["first_pass"] / speed["plain"]
    return {f"{name}_clips_per_second": round(s) for name, s in speed.items()} | {
        "first_pass_to_plain": round(ratio, 2)
    }


def write_names(root: Path) -> None:
    """Creates empty files with the names of a full-size tree: 990 + 10 training and 200 test clips
    per machine.
    """
    edition = EDITIONS[2024]
    for data, machines in (("dev_data", edition.dev), ("eval_data", edition.evaluation)):
        for machine in machines:
            folder = root / data / "raw" / machine
            for split in ("train", "test"):
                (folder / split).mkdir(parents=True)
            for domain, count in (("source", 990), ("target", 10)):
                for n in range(count):
                    (
                        folder
                        / "train"
                        / f"section_00_{domain}_train_normal_{n:04d}_car_A{n % 5}_spd_{n % 7}V.wav"
                    ).touch()
                for label in ("normal", "anomaly"):
                    for n in range(50):
                        (
                            folder
                            / "test"
                            / f"section_00_{domain}_test_{label}_{n:04d}_car_A{n % 5}_spd_1V.wav"
                        ).touch()


def write_clips(folder: Path) -> list[str]:
    """Writes 10-s clips of 16-bit noise at 16 kHz, and returns their paths."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(-3000, 3000, 160000 + FLAGS.clips).astype(np.int16)
    paths = [str(folder / f"{n}.wav") for n in range(FLAGS.clips)]
    for n, path in enumerate(paths):
        soundfile.write(path, noise[n : n + 160000], 16000)
    return paths


if __name__ == "__main__":
    run(main, define_flags)
