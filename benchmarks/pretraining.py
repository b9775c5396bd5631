"""Tests the paper's open question: does pre-training on evenly spaced filter banks (m-FB) beat
pre-training on mel (o-FB)?

    python -m benchmarks.pretraining --seeds=3 --even=runs/even_{seed}/weights.safetensors \\
        --mel=runs/mel_{seed}/weights.safetensors --config=configs/quickstart.py --output=DIR

The files are written by `python -m asd_jax.pretrain` with the same data, steps and seeds; {seed} in
their names stands for 0, 1, ... Every bank is scored frozen, next to random weights behind the same
front end, and with --fine_tune also after fine-tuning. The encoders are small and the steps few, so
the answer holds only at that scale.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.training.weights import load_pipeline, random_eat, save_encoder
from benchmarks import grid
from benchmarks.grid import Cell

BANKS = {"m-FB": "even", "o-FB": "mel"}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the grid's flags, and one for the weight file of each filter bank."""
    grid.define_flags(argv)
    for spacing in BANKS.values():
        flags.DEFINE_string(
            spacing, None, f"weight file pre-trained on {spacing} filter banks; may hold {{seed}}"
        )
        flags.mark_flag_as_required(spacing)


def main() -> None:
    """Prints and writes two rows for each filter bank, three with --fine_tune; the reference is
    o-FB, frozen.
    """
    args = flags.FLAGS
    cells = []
    for name, spacing in BANKS.items():
        files = str(args[spacing].value)
        twins = random_twins(
            files, grid.number_of_seeds(), f"{args.output}/random/{spacing}_{{seed}}.safetensors"
        )
        cells.append(Cell(f"{name}, random", {"model.weights": twins}))
        cells.append(Cell(f"{name}, pre-trained", {"model.weights": files}))
        if args.fine_tune:
            settings = {
                "model.weights": files,
                "features.spacing": spacing,
                **front_end_keys(files),
            }
            cells.append(Cell(f"{name}, fine-tuned", settings, fine_tune=True))
    question = "Pre-trained on m-FB or on o-FB, which detects anomalies better?"
    grid.run_grid("pretraining", question, cells, reference="o-FB, pre-trained")


def random_twins(files: str, seeds: int, twins: str) -> str:
    """Writes the same encoders with random weights to the files `twins`, and returns that name.

    {seed} in `twins` is replaced as in `files`.
    """
    for seed in map(str, range(seeds)):
        config = load_pipeline(files.replace("{seed}", seed)).config
        params = {"eat": random_eat(config.backbone, int(seed))}
        save_encoder(twins.replace("{seed}", seed), config, params, source="random")
    return twins


def front_end_keys(files: str) -> dict[str, object]:
    """Returns the config keys that give fine-tuning the front end and size that the first file was
    pre-trained with.
    """
    config = load_pipeline(files.replace("{seed}", "0")).config
    sizes = dataclasses.asdict(config.backbone)
    model = {"width": "embed_dim", "depth": "depth", "heads": "num_heads"}
    return {
        "features.statistics": "weights",
        "features.bins": config.front_end.bins,
        "model.size": "tiny",
        **{f"model.{key}": sizes[name] for key, name in model.items()},
    }


if __name__ == "__main__":
    run(main, define_flags)
