"""Which pooling, which loss? Fine-tuned in every cell.

python -m benchmarks.pooling_and_loss --config=configs/dcase2024.py
--weights=weights/eat_base.safetensors --output=DIR python -m benchmarks.pooling_and_loss
--config=configs/base.py:smoke --output=DIR      synthetic machines
"""

from benchmarks import grid
from benchmarks.grid import Cell, define_flags

POOLINGS = ("attentive_statistics", "mean", "cls")
LOSSES = ("arcface", "adacos", "subcluster_adacos")


def main() -> None:
    """A row per pooling, with ArcFace, and per loss, with attentive statistics; the reference is
    the paper's pair.
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
