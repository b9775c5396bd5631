"""Pre-trains EAT-base as published, on evenly spaced filter banks.

  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/pretrain \\
      --config.data.root=data/audioset

Any key can be set on the command line. The defaults, their ranges and their meanings are in
asd_jax/config.py; `python -m asd_jax.config --pretrain` lists them. Data: any folder of sound
files, and the built-in synthetic machines. Cost as published (AudioSet-2M, 400,000 steps of 48
clips with 16 views): about 58 h on four RTX 3090.
"""

from ml_collections import ConfigDict

from asd_jax.config import PretrainConfig, config_dict


def get_config(mode: str = "") -> ConfigDict:
    """Returns every key of pre-training; `configs/pretrain_tiny.py` changes a few."""
    config = config_dict(PretrainConfig())
    apply_mode(config, mode)
    return config


def apply_mode(config: ConfigDict, mode: str) -> None:
    """Changes the config as the text after the colon of --config=FILE:MODE specifies.

    "smoke" is a run of seconds on synthetic machines.
    """
    if mode not in ("", "smoke"):
        raise ValueError(f"config mode {mode!r}; known: smoke")
    if mode == "smoke":
        config.data.update(zoo_share=1.0, frames=64, pieces=1)
        config.model.update(size="tiny", depth=2, width=64, heads=2)
        config.pretraining.update(steps=6, views=2, decoder_layers=1, decoder_width=32)
        config.optimizer.update(batch_size=4)
        config.log.update(every=2, checkpoint_every=3)
