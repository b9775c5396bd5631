"""Compares how much of a pre-trained model should be trained, and tests whether trainable attention
wins if EAT is unfrozen gradually.

    python -m benchmarks.strategies --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.strategies --config=configs/base.py:smoke --output=DIR
        synthetic machines

The strategies are frozen (only pooling and embedding are trained), LoRA, full fine-tuning and
gradual unfreezing, and CBAM in SimAM's place under full fine-tuning and gradual unfreezing.
"""

from benchmarks import grid
from benchmarks.grid import Cell, define_flags

STRATEGIES = {"frozen": {}, "lora": {"optimizer.learning_rate": 1e-4}, "full": {}, "gradual": {}}
CBAM = {"features.simam": "none", "model.attention": "cbam"}


def main() -> None:
    """Prints and writes a row per strategy; the reference is full fine-tuning."""
    cells = [
        Cell(strategy, {"backbone.strategy": strategy, **keys}, fine_tune=True)
        for strategy, keys in STRATEGIES.items()
    ]
    for strategy in ("full", "gradual"):
        cells.append(
            Cell(f"{strategy}, CBAM", {"backbone.strategy": strategy, **CBAM}, fine_tune=True)
        )
    grid.run_grid(
        "strategies", "How much of the pre-trained model should learn?", cells, reference="full"
    )


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
