"""Packs the scores of one to four systems into the zip of a DCASE challenge entry, and checks it.

  asd-jax submit --workdir=runs/entry --year=2025
  asd-jax submit --workdir=runs/a --workdir=runs/b --year=2025 --label=Lovelace_AEC \\
      --authors=authors.yaml --report=report.pdf --output=entry.zip

The zip holds task2/LABEL_task2_N/ with the score and decision files of the year's evaluation
machines and LABEL_task2_N.meta.yaml, which describes the system as far as the run tells it, and the
report. Files of development machines are left out. What is packed is read again as the organisers'
evaluator reads it. What is still to be filled in is printed: put it into the file of --authors,
whose fields replace those of the meta files, and run the command again.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_multi_string(
        "workdir",
        [],
        "a finished run, or a folder of score files, once for each system; at most four",
    )
    flags.DEFINE_integer("year", None, "of the challenge", required=True)
    flags.DEFINE_string(
        "label", "Lastname_Institute", "last name of the corresponding author, _, the institute"
    )
    flags.DEFINE_string(
        "authors", None, "yaml file: submission: {name, abbreviation, authors}, system: {...}"
    )
    flags.DEFINE_string("report", None, "technical report, a pdf file")
    flags.DEFINE_string(
        "ground_truth", None, "of a past year, see dcase_score: every clip of it must have a score"
    )
    flags.DEFINE_string("output", None, "zip file to write; default: submission.zip in the workdir")


def main() -> None:
    """Writes the zip and prints what it holds and what is still to be filled in."""
    # The code that packs is imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run.submit import submit

    args = flags.FLAGS
    workdirs = [Path(workdir) for workdir in args.workdir]
    submit(
        workdirs,
        args.year,
        label=args.label,
        authors=args.authors,
        report=args.report,
        ground_truth=args.ground_truth,
        output=args.output,
    )


if __name__ == "__main__":
    run(main, define_flags)
