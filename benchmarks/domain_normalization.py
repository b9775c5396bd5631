"""Which domain normalisation is best: train, test, held_out or none?

    python -m asd_jax.train --config=configs/quickstart.py --config.data.held_out=0.2 --config.seeds=4 --workdir=RUN
    python -m benchmarks.domain_normalization --runs=RUN --output=DIR

Scores the embeddings of finished runs (and the frozen filter-bank baseline beside them) under every normalisation, with
95 % intervals over clips and seeds and the paired difference to the default, train. All four use the same banks: clips
held out of training are never in them. Writes domain_normalization.json.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.command import run
from asd_jax.errors import InputError
from asd_jax.evaluate import BASELINE, BASELINE_FOLDER, load_embeddings
from asd_jax.files import write_json
from asd_jax.scoring.anomaly_score import fit_sections, score_sections
from asd_jax.scoring.domain_normalization import MODES
from asd_jax.scoring.intervals import bootstrap, paired_bootstrap
from asd_jax.scoring.options import DEFAULT, Scoring

FLAGS = flags.FLAGS


def define_flags(argv: Sequence[str]) -> None:
    """The flags of the command."""
    flags.DEFINE_list("runs", [], "Folders of finished runs, each with embeddings/ or seed_*/embeddings/.")
    flags.DEFINE_integer("year", 2024, "Whose official score.")
    flags.DEFINE_string("output", None, "Folder for domain_normalization.json; nothing is written without it.")


def main() -> None:
    """One table per run and per its frozen baseline."""
    from asd_jax.reporting.table import grid_table, percent, print_table

    if not FLAGS.runs:
        raise InputError("--runs=DIR is needed: a finished run trained with --config.data.held_out=0.2")
    found = {}
    for folder in map(Path, FLAGS.runs):
        seeds = sorted(folder.glob("seed_*/embeddings")) or [folder / "embeddings"]
        found[str(folder)] = compare(seeds, DEFAULT)
        if (seeds[0] / BASELINE_FOLDER).is_dir():
            found[f"{folder}, filter bank"] = compare([seed / BASELINE_FOLDER for seed in seeds], BASELINE)
    scores = {name: {mode: of["value"] for mode, of in modes.items()} for name, modes in found.items()}
    print_table(grid_table(scores, title=f"official score {FLAGS.year}", corner="embeddings"))
    for name, modes in found.items():
        for mode, of in modes.items():
            less = of["minus_train"]
            print(
                f"{name}, {mode}: {percent(of['value'])} ({percent(of['low'])} to {percent(of['high'])}); to train "
                f"{100 * less['difference']:+.2f} ({100 * less['low']:+.2f} to {100 * less['high']:+.2f})"
            )
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "domain_normalization.json", found)


def compare(folders: Sequence[Path], scoring: Scoring) -> dict[str, dict]:
    """Folders of one system's seeds -> {normalisation: score, interval, paired difference to train}."""
    clips, scores = None, {mode: [] for mode in MODES}
    for folder in folders:
        machines = load_embeddings(folder)
        fitted = {machine: fit_sections(embeddings, scoring) for machine, embeddings in machines.items()}
        for mode in MODES:
            scored = {m: score_sections(machines[m], of_m, normalization=mode) for m, of_m in fitted.items()}
            scores[mode].append(np.concatenate([of.score for of in scored.values()]))
        clips = [
            (machine, *clip)
            for machine, of in scored.items()
            for clip in zip(of.clips.section, of.clips.domain, of.clips.label.tolist(), strict=True)
        ]
    found = {}
    for mode, values in scores.items():
        less = paired_bootstrap(clips, values, scores["train"], FLAGS.year, same_seeds=True)
        found[mode] = dataclasses.asdict(bootstrap(clips, values, FLAGS.year)) | {
            "minus_train": dataclasses.asdict(less)
        }
    return found


if __name__ == "__main__":
    run(main, define_flags)
