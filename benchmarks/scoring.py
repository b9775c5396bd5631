"""Measures how fast neighbours are found in a large bank, and how fast intervals are computed.

    python -m benchmarks.scoring --output=DIR

k-NN: 1,000 queries are compared with 1,000,000 x 768 float32 rows, alternating between our code and
scikit-learn's NearestNeighbors(algorithm="brute") in one run. The peak memory above the bank is
measured before scikit-learn runs. This needs 8 GB.

Intervals: our jackknife of AUC and pAUC over 9 x 200 pooled clips, and 1,000 bootstrap replicates
of the official score, are compared with scikit-learn's roc_auc_score in a loop. The loops would
take minutes, so only a part of them is timed. The command writes scoring.json and takes a few
minutes.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.intervals import bootstrap, jackknife
from benchmarks.provenance import peak_memory_mb

FLAGS = flags.FLAGS


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("rows", 1_000_000, "Number of clips in the bank.", lower_bound=1)
    flags.DEFINE_integer("width", 768, "Number of values in an embedding.", lower_bound=1)
    flags.DEFINE_integer("queries", 1000, "Number of clips to score.", lower_bound=1)
    flags.DEFINE_integer("k", 1, "Number of neighbours.", lower_bound=1)
    flags.DEFINE_integer(
        "repeats", 3, "Number of rounds, ours and scikit-learn's in turn.", lower_bound=1
    )
    flags.DEFINE_string("output", None, "Folder for scoring.json; nothing is written without it.")


def main() -> None:
    """Prints and writes seconds, gigabytes and ratios."""
    result = {"intervals": interval_speed(), "knn": knn_speed()}
    print(result)
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "scoring.json", result)


def knn_speed() -> dict:
    """Returns the seconds of both, the largest difference of distances, and our peak memory above
    the bank.
    """
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    bank = np.empty((FLAGS.rows, FLAGS.width), np.float32)
    for start in range(0, len(bank), 10_000):
        rng.standard_normal(out=bank[start : start + 10_000], dtype=np.float32)
    queries = rng.standard_normal((FLAGS.queries, FLAGS.width), dtype=np.float32)
    before = peak_gigabytes()
    seconds = {"ours": [], "scikit_learn": []}
    model = NearestNeighbors(n_neighbors=FLAGS.k, algorithm="brute").fit(bank)
    ways = {
        "ours": lambda: nearest(queries, bank, FLAGS.k, "euclidean"),
        "scikit_learn": lambda: model.kneighbors(queries),
    }
    found = {}
    peaks = []
    for name in list(ways) * FLAGS.repeats:
        began = time.perf_counter()
        found[name] = ways[name]()
        seconds[name].append(time.perf_counter() - began)
        # The peak never falls, so the first value is ours alone.
        peaks.append(peak_gigabytes() - before)
    ours, rows = found["ours"]
    theirs, their_rows = found["scikit_learn"]
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        "rows": len(bank),
        "seconds": seconds,
        "speed_against_scikit_learn": median["scikit_learn"] / median["ours"],
        "gigabytes_above_the_bank": peaks[0],
        "largest_difference": float(np.abs(ours - theirs).max()),
        "same_neighbours": float(np.mean(rows == their_rows)),
    }


def interval_speed(
    machines: int = 9, each: int = 50, replicates: int = 1000, looped: int = 20
) -> dict:
    """Returns the seconds of jackknife and bootstrap, and the time that a loop over scikit-learn
    would take.
    """
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    clips = [
        (str(machine), "00", domain, label)
        for machine in range(machines)
        for domain in ("source", "target")
        for label in (0, 1)
        for _ in range(each)
    ]
    label = np.array([clip[3] for clip in clips])
    source = np.array([clip[2] == "source" for clip in clips])
    score = rng.normal(size=len(clips)) + label
    # The first call imports scipy.stats, so it is not timed.
    jackknife(label, score)
    began = time.perf_counter()
    jackknife(label, score)
    ours = {"jackknife": time.perf_counter() - began}
    began = time.perf_counter()
    bootstrap(clips, score, 2024, replicates=replicates)
    ours["bootstrap"] = time.perf_counter() - began
    began = time.perf_counter()
    for i in range(looped):
        rest = np.arange(len(label)) != i
        roc_auc_score(label[rest], score[rest])
        roc_auc_score(label[rest], score[rest], max_fpr=0.1)
    loops = {"jackknife": (time.perf_counter() - began) / looped * len(label)}
    began = time.perf_counter()
    section = slice(0, 4 * each)
    of_section = 4 * each
    for _ in range(looped):
        drawn = rng.integers(of_section, size=of_section)
        y = label[section][drawn]
        s = score[section][drawn]
        d = source[section][drawn]
        for keep in (d | (y == 1), ~d | (y == 1)):
            roc_auc_score(y[keep], s[keep])
        roc_auc_score(y, s, max_fpr=0.1)
    loops["bootstrap"] = (time.perf_counter() - began) / looped * machines * replicates
    return {
        name: {
            "seconds": ours[name],
            "loop_seconds": loops[name],
            "times": loops[name] / ours[name],
        }
        for name in ours
    }


def peak_gigabytes() -> float:
    """Returns the peak resident memory of this process so far, in gigabytes."""
    return peak_memory_mb() * 2**20 / 1e9


if __name__ == "__main__":
    run(main, define_flags)
