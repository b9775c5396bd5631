"""Distils larger encoders into a small EAT, from recordings and synthetic machines.

  python -m asd_jax.pretrain --config=configs/distill_tiny.py --workdir=runs/distilled \\
      --config.data.root=DIR --config.pretraining.teachers=my_package.my_module:embed

docs/distillation.md explains teachers, data and cost, and asd_jax/box/README.md how the encoder of
the package was made with it.
"""

from ml_collections import ConfigDict

from configs import pretrain_base


def get_config(mode: str = "") -> ConfigDict:
    """Returns the config of the second of the two runs that made the encoder of the package."""
    config = pretrain_base.get_config()
    config.data.update(
        zoo_share=0.25,
        pieces=4,
        mix_share=0.5,
        gain_db=20.0,
        equalizer_db=3.0,
        speed=0.1,
    )
    config.features.statistics = "train"
    config.model.update(size="tiny", block=-1, file_dtype="float16")
    config.pretraining.update(
        objective="distill",
        steps=5000,
        views=1,
        mask_share=0.5,
        mask_block=1,
    )
    config.optimizer.update(
        batch_size=8,
        learning_rate=5e-4,
        warmup_fraction=0.05,
        decay_everything=False,
        clip_norm=1.0,
    )
    config.log.update(every=20, checkpoint_every=250)
    pretrain_base.apply_mode(config, mode)
    if mode == "smoke":
        # The encoder of the package is at hand. In six steps nothing is learnt.
        config.pretraining.update(teachers="benchmarks.examples.eat_file:embed", least_spread=0.0)
    return config
