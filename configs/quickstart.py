"""The quick start: no data, no download, no GPU. Synthetic machines, the small EAT in the box,
short clips.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

Data: written by the built-in factory (asd_jax/data/factory.py) into the workdir.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(mode: str = "") -> ConfigDict:
    """`base` made small enough for two CPU cores and a coffee."""
    config = base.get_config()
    config.data.update(root="factory", clip_seconds=2.0)
    config.features.statistics = "weights"
    # Some 170 steps: the first four blocks alone are computed, a milder margin and lighter
    # augmentation than usual.
    config.model.update(size="tiny", block=3, weights="box")
    config.arcface.update(scale=16.0, margin=0.2)
    config.augment.update(mixup="none", mask_frames=20, mask_filters=16)
    config.optimizer.update(epochs=6, batch_size=16, learning_rate=3e-4)
    config.scoring.back_end = "mahalanobis"
    base.apply_mode(config, mode)
    return config
