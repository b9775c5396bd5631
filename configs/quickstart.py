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
    config.model.update(size="tiny", weights="none")
    config.optimizer.update(epochs=6, batch_size=16, learning_rate=5e-4)
    base.apply_mode(config, mode)
    return config
