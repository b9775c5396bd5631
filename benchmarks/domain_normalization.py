"""Compares domain normalisations, and tests whether the minimum over the domains helps.

    python -m benchmarks.domain_normalization --config=configs/dcase2024.py --weights=FILE \\
        --fine_tune --output=DIR
    python -m benchmarks.domain_normalization --config=configs/base.py:smoke --output=DIR
        synthetic machines
    python -m benchmarks.domain_normalization --runs=RUN --output=DIR
        a finished run, trained with data.held_out

The cells combine the source bank only, the target bank only, or the minimum of both, with
statistics from no clips, training, test or held-out clips. All cells score the same embeddings with
the same banks. A fifth of the clips is held out of training, and these clips are never in the
banks.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.scoring.domain_normalization import MODES
from benchmarks import grid
from benchmarks.grid import Cell

HELD_OUT = 0.2
REFERENCE = "min, train"


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    grid.define_flags(argv)
    flags.DEFINE_string(
        "runs", None, "folder of a finished run, with embeddings/ or seed_*/embeddings/"
    )


def main() -> None:
    """Prints a row per choice of domains and statistics; the reference is the default."""
    args = flags.FLAGS
    cells = []
    for domains in ("min", "source", "target"):
        for mode in MODES:
            keys = {
                "scoring.domains": domains,
                "scoring.normalization": mode,
                "data.held_out": HELD_OUT,
            }
            cells.append(Cell(f"{domains}, {mode}", keys, args.fine_tune))
    question = "Which domain normalisation is best?"
    run = Path(args.runs) if args.runs else None
    grid.run_grid("domain_normalization", question, cells, reference=REFERENCE, finished=run)


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
