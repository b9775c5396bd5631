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

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import check_output, write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.official_score import check_year

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
    # Scoring is imported only here, so that --help and a wrong flag are answered at once.
    from asd_jax.run.official_score import (
        ScoreFiles,
        check_submission,
        official_score,
        report_lines,
    )

    if not FLAGS.scores or FLAGS.year is None:
        raise InputError("--scores=DIR and --year=YYYY are needed (--help lists the flags)")
    check_year(FLAGS.year)
    files = ScoreFiles(FLAGS.scores, FLAGS.year, FLAGS.machines, FLAGS.ground_truth)
    if FLAGS.check:
        return check_submission(files)
    # Reported now, because the bootstrap may take minutes.
    if FLAGS.json:
        check_output(FLAGS.json)
    found = official_score(
        files,
        against=FLAGS.against,
        with_intervals=FLAGS.intervals,
        replicates=FLAGS.replicates,
        seed=FLAGS.seed,
    )
    # --check draws no table.
    from asd_jax.reporting.table import print_table, results_table

    print_table(results_table(found))
    for line in report_lines(found):
        print_line(line)
    if FLAGS.json:
        write_json(FLAGS.json, found)


if __name__ == "__main__":
    run(main, define_flags)
