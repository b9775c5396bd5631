"""Compares poolings and losses, with fine-tuning in every cell.

    python -m benchmarks.pooling_and_loss --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.pooling_and_loss --config=configs/base.py:smoke --output=DIR
        synthetic machines

The cells are every pooling with ArcFace, and every loss with attentive statistics.
"""

from benchmarks import grid
from benchmarks.grid import Cell, define_flags

POOLINGS = ("attentive_statistics", "mean", "cls")
LOSSES = ("arcface", "adacos", "subcluster_adacos", "adaproj")


def main() -> None:
    """Prints and writes a row per pooling with ArcFace, and per loss with attentive statistics.

    The reference is the pair of the paper.
    """
    cells = [
        Cell(f"{pooling}, arcface", {"model.pooling": pooling}, fine_tune=True)
        for pooling in POOLINGS
    ]
    cells += [
        Cell(f"{POOLINGS[0]}, {loss}", {"arcface.head": loss}, fine_tune=True)
        for loss in LOSSES[1:]
    ]
    question = "Which pooling and which loss are best?"
    grid.run_grid("pooling_and_loss", question, cells, reference=f"{POOLINGS[0]}, {LOSSES[0]}")


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
