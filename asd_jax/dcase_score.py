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
of an evaluation set. Names of the public baseline's runs (..._DCASE2024T2fan_..._seed13711.csv)
are read too, and the workdir of a run here. What is left out of the score, and which machines of
the edition are missing, is printed beside it.
"""

from collections.abc import Sequence

from absl import flags

from asd_jax.data.dcase import edition
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import check_output, write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.evaluation import (
    aligned,
    compare_systems,
    evaluate_system,
    intervals,
    labelled_sections,
)
from asd_jax.scoring.labels import Labels, read_labels
from asd_jax.scoring.official_score import check_year
from asd_jax.scoring.results import over_seeds
from asd_jax.scoring.submission import read_submission

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
    # Reported now, because the bootstrap may take minutes.
    if FLAGS.json:
        check_output(FLAGS.json)
    labels = read_labels(FLAGS.ground_truth, FLAGS.year) if FLAGS.ground_truth else None
    runs = _read(FLAGS.scores, labels)
    if len(runs) > 1:
        # Seeds are averaged clip by clip, so all of them must score the same clips.
        aligned(runs)
        _check_decisions_alike(runs)
    scored = [
        evaluate_system(folder, clips, FLAGS.year)
        for folder, clips in zip(FLAGS.scores, runs, strict=True)
    ]
    found = scored[0]
    if len(runs) > 1:
        found = over_seeds(scored) | {
            "seeds": {"official_score": [one["official_score"] for one in scored]}
        }
    resampling = {"replicates": FLAGS.replicates, "seed": FLAGS.seed}
    if FLAGS.intervals or FLAGS.against:
        # Only labelled sections can be resampled; the notes name the others.
        runs = _labelled(FLAGS.scores, runs)
    if FLAGS.intervals:
        found |= intervals(runs, FLAGS.year, **resampling)
    if FLAGS.against:
        others = _labelled(FLAGS.against, _read(FLAGS.against, labels))
        found["against"] = compare_systems(runs, others, FLAGS.year, **resampling)
    # --check, --help and a wrong flag draw no table.
    from asd_jax.reporting.table import print_table, results_table

    print_table(results_table(found))
    for line in _report_lines(found):
        print_line(line)
    if FLAGS.json:
        write_json(FLAGS.json, found)


def _read(folders: Sequence[str], labels: Labels | None) -> list:
    return [read_submission(folder, machines=FLAGS.machines, labels=labels) for folder in folders]


def _labelled(folders: Sequence[str], runs: Sequence) -> list:
    return [
        labelled_sections(folder, clips, FLAGS.year)[0]
        for folder, clips in zip(folders, runs, strict=True)
    ]


def _check_decisions_alike(runs: Sequence) -> None:
    # There are at most two keys, with and without decisions; each keeps one folder to name.
    decided = {
        clips[0].decision is not None: folder
        for folder, clips in zip(FLAGS.scores, runs, strict=True)
    }
    if len(decided) > 1:
        raise InputError(
            f"{decided[True]} holds decision_result files, {decided[False]} none; all must, or none"
        )


def check() -> None:
    """Checks the folders as submissions for the year's evaluation machines, and prints all
    problems.
    """
    year = edition(FLAGS.year)
    # Only 2021 splits a section's scores into one file per domain.
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
            # The edition of 2020 asked for no decisions.
            complete=FLAGS.year > 2020,
            strict=True,
        )
        print_line(
            f"{folder}: nothing wrong; {len({clip[:2] for clip in clips})} sections, {len(clips)} "
            "clips"
        )


def _report_lines(found: dict) -> list[str]:
    """Returns the lines of text that follow the table: notes, seeds, intervals, comparison."""
    lines = [f"note: {note}" for note in found["notes"]]
    for name, value in found.get("by_set", {}).items():
        lines.append(f"official score of the {name} machines alone: {100 * value:.2f} %")
    if "mean_of_machine_means" in found:
        value = 100 * found["mean_of_machine_means"]
        lines.append(
            f"official score: mean over IDs; mean over machine types of their IDs' mean (RMIS, "
            f"ASDKit): {value:.2f} %"
        )
    if seeds := found.get("seeds"):
        spread = found["standard_deviation"]["official_score"]
        lines.append(
            f"mean of {len(seeds['official_score'])} seeds, standard deviation {100 * spread:.2f} %"
        )
    if "bootstrap" in found:
        low = 100 * found["bootstrap"]["low"]
        high = 100 * found["bootstrap"]["high"]
        lines.append(f"95 % interval, stratified bootstrap: {low:.2f} to {high:.2f} %")
        # Ours follows the cited formula; the organisers' script computes another one, so both
        # appear.
        wide, printed = (
            100 * found["jackknife"][key] for key in ("half_width", "evaluator_half_width")
        )
        lines.append(
            f"95 % half width, jackknife of pooled AUC and pAUC: {wide:.2f} (evaluators print "
            f"{printed:.4f})"
        )
    if against := found.get("against"):
        low = 100 * against["low"]
        high = 100 * against["high"]
        difference = 100 * against["difference"]
        p = against["p_value"]
        lines.append(
            f"difference to the other: {difference:+.2f} points, 95 % {low:+.2f} to {high:+.2f}, "
            f"p = {p:.3f}"
        )
    return lines


if __name__ == "__main__":
    run(main, define_flags)
