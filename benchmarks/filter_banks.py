"""Tests claim 1: is the evenly spaced filter bank (m-FB) better than mel (o-FB) and gammatone
(g-FB)?

    python -m benchmarks.filter_banks --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.filter_banks --config=configs/base.py:smoke --output=DIR
        synthetic machines, seconds

The cells are three banks x the statistics of the normalisation (AudioSet's, or measured on the
training clips), with frozen weights or --fine_tune, and each bank alone without a model.
detectability.py tests the same claim on known signals.
"""

from absl import flags

from benchmarks import grid
from benchmarks.grid import Cell, define_flags

BANKS = {"o-FB": "mel", "g-FB": "gammatone", "m-FB": "even"}


def main() -> None:
    """Prints and writes a row per bank and statistics; the reference is o-FB with AudioSet's."""
    fine_tune = flags.FLAGS.fine_tune
    cells = []
    for name, spacing in BANKS.items():
        cells.append(Cell(f"{name} alone", {"features.spacing": spacing}, bare=True))
        for statistics in ("given", "train"):
            keys = {"features.spacing": spacing, "features.statistics": statistics}
            cells.append(Cell(f"{name}, {statistics} statistics", keys, fine_tune))
    grid.run_grid(
        "filter_banks", "Which filter bank is best?", cells, reference="o-FB, given statistics"
    )


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
