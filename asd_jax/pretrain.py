"""Pre-trains EAT without labels on any filter bank, from recordings, synthetic machines or both.

  python -m asd_jax.pretrain --config=configs/pretrain_tiny.py --workdir=runs/pretrain_tiny
  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/pretrain \\
      --config.data.root=data/audioset
  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/adapted \\
      --config.data.root=data/dcase2024 --config.model.weights=weights/eat_base.safetensors
  python -m asd_jax.pretrain --config=configs/distill_tiny.py --workdir=runs/distilled \\
      --config.data.root=DIR --config.pretraining.teachers=my_teachers:beats

Repeating the same command continues an interrupted run. The result is weights.safetensors, for
--config.model.weights of training, or for `python -m asd_jax.evaluate --weights` without training.
The keys of the config are listed by python -m asd_jax.config --pretrain
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.config import PretrainConfig, read_config
from asd_jax.runtime.command import define_process_flags, run


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, metrics and weights", required=True
    )
    config_flags.DEFINE_config_file(
        "config", None, "config file, e.g. configs/pretrain_tiny.py, or ...:smoke"
    )
    flags.mark_flag_as_required("config")
    define_process_flags()
    flags.DEFINE_bool("overwrite", False, "first remove the run that the workdir holds")


def main() -> None:
    """Pre-trains EAT and writes the student's weights."""
    # JAX and the models are imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run.pretrain import pretrain

    args = flags.FLAGS
    config = read_config(PretrainConfig, args.config)
    pretrain(config, Path(args.workdir), overwrite=args.overwrite)


if __name__ == "__main__":
    run(main, define_flags)
