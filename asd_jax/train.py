"""Trains, embeds and scores: the whole pipeline from recordings to the official DCASE score.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart
  python -m asd_jax.train --config=configs/toycar.py --workdir=runs/toycar \\
      --config.data.root=data/dcase2024 --config.model.weights=weights/eat_base.safetensors

Repeating the same command continues an interrupted run. The keys of the config, with defaults and
meanings, are listed by python -m asd_jax.config
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.config import RunConfig, read_config
from asd_jax.runtime.command import define_process_flags, run


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags (in a function, so that importing this module defines none)."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, weights, embeddings and results", required=True
    )
    config_flags.DEFINE_config_file(
        "config", None, "config file, e.g. configs/toycar.py, or configs/toycar.py:smoke"
    )
    flags.mark_flag_as_required("config")
    define_process_flags()
    flags.DEFINE_bool("overwrite", False, "first remove the run that the workdir holds")


def main() -> None:
    """Runs the training and the scoring that the config describes."""
    # JAX and the models are imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run.train import train_seeds

    args = flags.FLAGS
    train_seeds(read_config(RunConfig, args.config), Path(args.workdir), overwrite=args.overwrite)


if __name__ == "__main__":
    run(main, define_flags)
