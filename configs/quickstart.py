"""Trains on synthetic machines without any data, download or GPU.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

It uses the small EAT that comes with the package, and short clips. Data: written by the built-in
factory (asd_jax/data/factory.py) into the workdir.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(mode: str = "") -> ConfigDict:
    """Returns `base` made small enough for two CPU cores."""
    config = base.get_config()
    config.data.update(root="factory", clip_seconds=2.0)
    config.features.statistics = "weights"
    # There are only about 170 steps. Therefore only the first four blocks are computed, and the
    # margin and the augmentation are milder than usual.
    config.model.update(size="tiny", block=3, weights="box")
    config.arcface.update(scale=16.0, margin=0.2)
    config.augment.update(mixup="none", mask_frames=20, mask_filters=16)
    config.optimizer.update(epochs=6, batch_size=16, learning_rate=3e-4)
    config.scoring.back_end = "mahalanobis"
    base.apply_mode(config, mode)
    return config
