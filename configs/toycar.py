"""Trains on ToyCar of DCASE 2024, one machine of the paper's experiment.

  python -m asd_jax.data.download --year=2024 --machines=ToyCar --output=data/dcase2024
  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain \\
      --output=weights/eat_base.safetensors
  python -m asd_jax.train --config=configs/toycar.py --workdir=runs/toycar

The encoder is EAT-base with the evenly spaced filter bank. Data: 1,000 normal training clips (990
source, 10 target) and 200 test clips of 10 s; the attributes in the file names are the classes.
Cost: 10 epochs over 1,000 clips, about 3 PFLOP. The result has not been measured here, because the
recordings and the public weights were not available.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(mode: str = "") -> ConfigDict:
    """Returns `base` with one machine."""
    config = base.get_config()
    config.data.update(root="data/dcase2024", machines="ToyCar")
    config.model.update(size="base", weights="weights/eat_base.safetensors")
    base.apply_mode(config, mode)
    return config
