"""Trains on all machines of DCASE 2026, whose recordings have two microphones, and scores each one.

  python -m asd_jax.data.download --year=2026 --output=data/dcase2026
  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain \\
      --output=weights/eat_base.safetensors
  python -m asd_jax.train --config=configs/dcase2026.py --workdir=runs/dcase2026

The near microphone is used, as in the baseline. --config.data.channel=cancelled removes from it
what the far one predicts (docs/two-microphones.md). Two runs, one of each microphone, are scored
together by

  python -m asd_jax.evaluate --year=2026 --workdir=runs/both \\
      --embeddings=runs/near/embeddings,runs/far/embeddings

Data: 12 machines with 1,000 normal training clips and 200 test clips each; the evaluation labels
are not public. The result has not been measured here, because the recordings and the public weights
were not available.
"""

from ml_collections import ConfigDict

from configs import dcase2024


def get_config(mode: str = "") -> ConfigDict:
    """Returns the config of 2024 with the data of 2026 and its near microphone."""
    config = dcase2024.get_config(mode)
    config.data.update(year=2026, channel="near")
    if mode != "smoke":
        config.data.root = "data/dcase2026"
    return config
