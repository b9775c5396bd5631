"""Trains on recordings of your own with the small encoder of the package: no download, no GPU.

  asd-jax train --config=small --workdir=runs/mine --config.data.root=recordings

Data: recordings/<machine>/train/*.wav (normal sound) and recordings/<machine>/test/*.wav, of 10 s;
others are cut or padded (--config.data.clip_seconds, --config.data.length=window). The classes that
the training tells apart are the attributes, where clips have any, else four clusters of sounds.
The paper's encoder is a larger one: configs/toycar.py names the commands.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(mode: str = "") -> ConfigDict:
    """Returns `base` with the small encoder, and classes where there are no attributes."""
    config = base.get_config()
    config.data.pseudo_classes = 4
    config.features.statistics = "weights"
    # As in quickstart.py: few steps on a small model need a mild margin and augmentation.
    config.model.update(size="tiny", block=3, weights="box")
    config.arcface.update(scale=16.0, margin=0.2)
    config.augment.update(mixup="none", mask_frames=20, mask_filters=16)
    config.optimizer.update(epochs=6, batch_size=16, learning_rate=3e-4)
    base.apply_mode(config, mode)
    return config
