"""Trains on all machines of DCASE 2025 by the recipe of that year's winner, and scores each one.

  python -m asd_jax.data.download --year=2025 --output=data/dcase2025
  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain \\
      --output=weights/eat_base.safetensors
  python -m asd_jax.train --config=configs/dcase2025.py --workdir=runs/dcase2025

The winner's recipe (Wang; 61.63 % on the evaluation machines): EAT-base on mel filters without
SimAM, mean pooling, ArcFace over attributes and domains, supplemental clips of clean machines in
training, supplemental noise at 5 to 20 dB, 20,000 steps of 32 clips, one nearest neighbour, and the
mean of several checkpoints' standardised scores. Other systems of that year add 16 sub-centres for
machines without attributes and the mean of several blocks. The numbers of checkpoints and of blocks
are our own choices. docs/training-recipes.md names the key of each part. Cost: 640,000 clips of
10 s. The result has not been measured here, because the recordings and the public weights were not
available.
"""

from ml_collections import ConfigDict

from configs import base

# The parts of the recipe, each the settings that turn it off; benchmarks.strategies measures them.
PARTS = {
    "domain in the class": {"data.domain_in_class": False},
    "supplemental clips": {"data.supplemental": False},
    "noise": {"augment.noise_probability": 0.0},
    "sub-centres": {"arcface.subcentres": 1},
    "mean of blocks": {"tokens.blocks": ""},
    "mean of checkpoints": {"optimizer.snapshots": 1},
}


def get_config(mode: str = "") -> ConfigDict:
    """Returns `base` with the recipe and half-precision computation."""
    config = base.get_config()
    config.data.update(root="data/dcase2025", year=2025, domain_in_class=True, supplemental=True)
    config.features.update(spacing="mel", simam="none")
    config.model.update(size="base", weights="weights/eat_base.safetensors", dtype="bfloat16")
    config.model.update(pooling="mean")
    config.tokens.blocks = "8,9,10,11"
    config.augment.noise_probability = 0.5
    config.arcface.update(subcentres=16, subcentres_of="without_attributes")
    config.optimizer.update(steps=20_000, batch_size=32, learning_rate=5e-5, snapshots=5)
    config.log.checkpoint_every = 1000
    base.apply_mode(config, mode)
    if mode == "smoke":
        # The factory has no supplemental clips, and the smoke model two blocks.
        config.data.supplemental = False
        config.augment.noise_probability = 0.0
        config.tokens.blocks = "all"
        config.optimizer.steps = 4
    return config
