"""The quick start: no data, no weights, no GPU. Synthetic machines, a tiny EAT from scratch, short clips.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

Data: written by the built-in factory (asd_jax/data/factory.py) into the workdir.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(mode: str = "") -> ConfigDict:
    """`base` made small enough for two CPU cores and a coffee."""
    config = base.get_config()
    config.data.update(root="factory", clip_seconds=2.0)
    config.features.statistics = "train"  # synthetic levels are not AudioSet's
    # From scratch in some 300 steps: fewer blocks, a milder margin and lighter augmentation than for fine-tuning.
    config.model.update(size="tiny", depth=4, weights="none")
    config.arcface.update(scale=16.0, margin=0.2)
    config.augment.update(mixup="none", mask_frames=20, mask_filters=16)
    config.optimizer.update(epochs=10, batch_size=16, learning_rate=1e-3)
    base.apply_mode(config, mode)
    return config
