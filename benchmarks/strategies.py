"""Compares how much of a pre-trained model should be trained, and tests whether trainable attention
wins if EAT is unfrozen gradually.

    python -m benchmarks.strategies --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.strategies --config=configs/base.py:smoke --output=DIR
        synthetic machines
    python -m benchmarks.strategies --config=configs/dcase2025.py --recipe \\
        --weights=weights/eat_base.safetensors --output=DIR

The strategies are frozen (only pooling and embedding are trained), LoRA in two initialisations,
full fine-tuning and gradual unfreezing, and CBAM in SimAM's place under full fine-tuning and
gradual unfreezing. With --recipe the rows are the config as it is, and the config without each part
of configs/dcase2025.py that it has.
"""

import operator
from collections.abc import Sequence

from absl import flags

from asd_jax.config import RunConfig, read_config
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from benchmarks import grid
from benchmarks.grid import Cell
from configs.dcase2025 import PARTS

STRATEGIES = {"frozen": {}, "lora": {"optimizer.learning_rate": 1e-4}, "full": {}, "gradual": {}}
CBAM = {"features.simam": "none", "model.attention": "cbam"}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the grid's flags, and the one that chooses the rows."""
    grid.define_flags(argv)
    flags.DEFINE_bool("recipe", False, "rows: the config, and the config without each part")


def main() -> None:
    """Prints and writes a row per strategy; the reference is full fine-tuning."""
    if flags.FLAGS.recipe:
        recipe()
        return
    cells = [
        Cell(strategy, {"backbone.strategy": strategy, **keys}, fine_tune=True)
        for strategy, keys in STRATEGIES.items()
    ]
    for strategy in ("full", "gradual"):
        cells.append(
            Cell(f"{strategy}, CBAM", {"backbone.strategy": strategy, **CBAM}, fine_tune=True)
        )
    he = {**STRATEGIES["lora"], "backbone.strategy": "lora", "backbone.lora_init": "he"}
    cells.append(Cell("lora, initialised by he", he, fine_tune=True))
    grid.run_grid(
        "strategies", "How much of the pre-trained model should learn?", cells, reference="full"
    )


def recipe() -> None:
    """Prints and writes a row per part of the recipe that the config has; the reference has all.

    Raises:
        InputError: The config has none of the parts.
    """
    config = read_config(RunConfig, flags.FLAGS.config)
    parts = {
        name: without
        for name, without in PARTS.items()
        if any(operator.attrgetter(key)(config) != value for key, value in without.items())
    }
    if not parts:
        raise InputError(f"--recipe: the config has none of the parts {', '.join(PARTS)}")
    for without in parts.values():
        with_values(config, without)  # fails early if the parts contradict each other
    cells = [Cell("all parts", fine_tune=True)]
    cells += [Cell(f"without {name}", keys, fine_tune=True) for name, keys in parts.items()]
    grid.run_grid("recipe", "What is each part worth?", cells, reference="all parts")


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
