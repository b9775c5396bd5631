"""Computes the official DCASE Task 2 score of csv score files, by the rule of any year.

    python -m asd_jax.dcase_score --scores=DIR --year=2024
    python -m asd_jax.dcase_score --scores=DIR --year=2024 --ground_truth=DIR \\
        --json=score.json --intervals
    python -m asd_jax.dcase_score --scores=A/seed_0,A/seed_1 --against=B --year=2024
        tests whether A is better than B
    python -m asd_jax.dcase_score --scores=DIR --year=2024 --check
        checks a submission before it is handed in

DIR holds anomaly_score_<machine>_section_<SS>_test.csv (2020: anomaly_score_<machine>_id_<ID>.csv;
2021 also ..._<domain>_test.csv) with rows <file name>,<score>. If there are decisions, DIR also
holds decision_result_... files. The labels are taken from the file names, or from the ground truth
of an evaluation set.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from absl import flags

from asd_jax.data.dcase import edition
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import check_output, write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.official_score import check_year, decision_values, official_score
from asd_jax.scoring.results import over_seeds
from asd_jax.scoring.submission import ScoredClip, read_submission

FLAGS = flags.FLAGS


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_list(
        "scores", [], "Folder of score files; several, comma-separated, are seeds of one system."
    )
    flags.DEFINE_integer("year", None, "Year whose rule counts, 2020 to 2026.")
    flags.DEFINE_list("machines", [], "Machines to score, comma-separated; default: all found.")
    flags.DEFINE_string(
        "ground_truth",
        None,
        "Labels: eval_data_list_<year>.csv, or an official evaluator's folder.",
    )
    flags.DEFINE_string("json", None, "File to write the result to.")
    flags.DEFINE_list(
        "against", [], "Folder (or seeds) of another system: paired bootstrap of the difference."
    )
    flags.DEFINE_bool(
        "intervals", False, "95 % intervals: stratified bootstrap, and the evaluator's jackknife."
    )
    flags.DEFINE_integer(
        "replicates", 1000, "Bootstrap replicates.", lower_bound=100, upper_bound=50_000
    )
    flags.DEFINE_integer("seed", 0, "Seed of the bootstrap.", lower_bound=0)
    flags.DEFINE_bool(
        "check", False, "Only check the folder as a submission: machines, files, clips, values."
    )


def main() -> None:
    """Reads the score files, prints a table of the scores and writes it as JSON if requested."""
    if not FLAGS.scores or FLAGS.year is None:
        raise InputError("--scores=DIR and --year=YYYY are needed (--help lists the flags)")
    check_year(FLAGS.year)
    if FLAGS.check:
        return check()
    if FLAGS.json:
        check_output(FLAGS.json)
    labels = read_labels(FLAGS.ground_truth, FLAGS.year) if FLAGS.ground_truth else None
    runs = [
        read_submission(folder, machines=FLAGS.machines, labels=labels) for folder in FLAGS.scores
    ]
    if len(runs) > 1:
        _aligned(runs)
        decided = {
            clips[0].decision is not None: folder
            for folder, clips in zip(FLAGS.scores, runs, strict=True)
        }
        if len(decided) > 1:
            raise InputError(
                f"{decided[True]} holds decision_result files, {decided[False]} none; all must, "
                "or none"
            )
    scored = [
        score(folder, clips, FLAGS.year) for folder, clips in zip(FLAGS.scores, runs, strict=True)
    ]
    found = scored[0]
    if len(runs) > 1:
        found = over_seeds(scored) | {
            "seeds": {"official_score": [one["official_score"] for one in scored]}
        }
    if FLAGS.intervals:
        found |= intervals(runs, FLAGS.year)
    if FLAGS.against:
        others = [
            read_submission(folder, machines=FLAGS.machines, labels=labels)
            for folder in FLAGS.against
        ]
        found["against"] = compare(runs, others, FLAGS.year)
    from asd_jax.reporting.table import print_table, results_table

    print_table(results_table(found))
    for line in _report_lines(found):
        print_line(line)
    if FLAGS.json:
        write_json(FLAGS.json, found)


def score(folder: str, clips: list[ScoredClip], year: int) -> dict:
    """Returns the scores of one folder's clips, with the fields of results.json.

    Raises:
        InputError: a clip has no label or domain, or `official_score` raises; the message names the
            folder.
    """
    if nameless := [
        c for c in clips if c.label < 0 or (year > 2020 and c.domain not in ("source", "target"))
    ]:
        first = nameless[0]
        raise InputError(
            f"{folder}: {first.machine} section {first.section}: {first.file} tells no label and "
            f"domain ({len(nameless)} such clips); give --ground_truth=DIR, or --check to check "
            "the files only"
        )
    try:
        official = official_score(
            ((c.machine, c.section, c.domain, c.label, c.score) for c in clips), year
        )
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    found = dataclasses.asdict(official)
    for machine, sections in found["machines"].items():
        for section, values in sections.items():
            own = [c for c in clips if (c.machine, c.section) == (machine, section)]
            if own[0].decision is not None:
                known = [c.domain if year > 2020 else "" for c in own]
                values |= decision_values(known, [c.label for c in own], [c.decision for c in own])
    return found


def intervals(runs: list[list[ScoredClip]], year: int) -> dict:
    """Returns the bootstrap interval of the official score and a jackknife.

    The jackknife is that of the pooled AUC and pAUC of the first run.
    """
    from asd_jax.scoring.intervals import bootstrap, jackknife

    clips, scores = _aligned(runs)
    interval = bootstrap(clips, scores, year, replicates=FLAGS.replicates, seed=FLAGS.seed)
    pooled = jackknife([clip[3] for clip in clips], scores[0])
    return {
        "bootstrap": dataclasses.asdict(interval),
        "jackknife": {
            "evaluator_half_width": float(
                np.mean([one.evaluator_half_width for one in pooled.values()])
            ),
            "half_width": float(np.mean([one.half_width for one in pooled.values()])),
        },
    }


def compare(runs: list[list[ScoredClip]], others: list[list[ScoredClip]], year: int) -> dict:
    """Returns the paired bootstrap of the difference between two systems' official scores."""
    from asd_jax.scoring.intervals import paired_bootstrap

    clips, scores = _aligned([*runs, *others])
    found = paired_bootstrap(
        clips,
        scores[: len(runs)],
        scores[len(runs) :],
        year,
        replicates=FLAGS.replicates,
        seed=FLAGS.seed,
    )
    return dataclasses.asdict(found)


def check() -> None:
    """Checks the folders as submissions for the year's evaluation machines, and prints all
    problems.
    """
    year = edition(FLAGS.year)
    domains = year.domains if year.names == "domain folders" else ("",)
    expected = {
        m: [(s, domain) for s in sections for domain in domains]
        for m, sections in year.evaluation.items()
    }
    labels = read_labels(FLAGS.ground_truth, FLAGS.year) if FLAGS.ground_truth else None
    for folder in FLAGS.scores:
        clips = read_submission(
            folder,
            machines=FLAGS.machines,
            labels=labels,
            expected=expected,
            complete=FLAGS.year > 2020,
        )
        print_line(
            f"{folder}: nothing wrong; {len({clip[:2] for clip in clips})} sections, {len(clips)} "
            "clips"
        )


def _aligned(runs: list[list[ScoredClip]]) -> tuple[list[tuple], np.ndarray]:
    """Returns the clips (machine, section, domain, label) of all runs, and their scores "run clip".

    Raises:
        InputError: the runs score different clips.
    """
    first = [clip[:3] for clip in runs[0]]
    for clips in runs[1:]:
        if [clip[:3] for clip in clips] != first:
            odd = sorted(set(first) ^ {clip[:3] for clip in clips})[0]
            raise InputError(
                f"the folders must score the same clips; only some of them have {'/'.join(odd)}"
            )
    labelled = [(c.machine, c.section, c.domain, c.label) for c in runs[0]]
    return labelled, np.array([[clip.score for clip in clips] for clips in runs])


def _report_lines(found: dict) -> list[str]:
    """Returns the lines of text that follow the table: spread over seeds, intervals, comparison."""
    lines = []
    if seeds := found.get("seeds"):
        spread = found["standard_deviation"]["official_score"]
        lines.append(
            f"mean of {len(seeds['official_score'])} seeds, standard deviation {100 * spread:.2f} %"
        )
    if "bootstrap" in found:
        low, high = 100 * found["bootstrap"]["low"], 100 * found["bootstrap"]["high"]
        lines.append(f"95 % interval, stratified bootstrap: {low:.2f} to {high:.2f} %")
        wide, printed = (
            100 * found["jackknife"][key] for key in ("half_width", "evaluator_half_width")
        )
        lines.append(
            f"95 % half width, jackknife of pooled AUC and pAUC: {wide:.2f} (evaluators print "
            f"{printed:.4f})"
        )
    if against := found.get("against"):
        low, high = 100 * against["low"], 100 * against["high"]
        difference, p = 100 * against["difference"], against["p_value"]
        lines.append(
            f"difference to the other: {difference:+.2f} points, 95 % {low:+.2f} to {high:+.2f}, "
            f"p = {p:.3f}"
        )
    return lines


if __name__ == "__main__":
    run(main, define_flags)
