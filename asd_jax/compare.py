"""Tabulates finished runs: their official scores, and the settings in which they differ.

  asd-jax compare --runs=runs/toycar,runs/toycar_mel
  asd-jax compare --runs=runs --csv=runs.csv          all finished runs below a folder

The best run comes first. A run of several seeds has their mean, its deviation and the ensemble's
score. The csv file also has the score of each machine; scores in it are fractions.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("runs", None, "folders of runs, or with runs below them", required=True)
    flags.DEFINE_string("csv", None, "file for the table, with the score of each machine")


def main() -> None:
    """Prints the table and writes it if requested."""
    # The code that reads runs is imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run.compare import compare_runs

    args = flags.FLAGS
    compare_runs([Path(folder) for folder in args.runs], Path(args.csv) if args.csv else None)


if __name__ == "__main__":
    run(main, define_flags)
