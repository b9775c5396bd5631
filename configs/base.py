"""Sets every key of training and scoring to its default; the other configs change a few.

Any key can be set on the command line: --config.optimizer.learning_rate=1e-4. The defaults, their
ranges and their meanings are in asd_jax/config.py; `python -m asd_jax.config` lists them.
"""

from ml_collections import ConfigDict

from asd_jax.config import RunConfig, config_dict


def get_config(mode: str = "") -> ConfigDict:
    """Returns the paper's choices, and our own where the paper does not specify one."""
    config = config_dict(RunConfig())
    apply_mode(config, mode)
    return config


def apply_mode(config: ConfigDict, mode: str) -> None:
    """Changes the config as the text after the colon of --config=FILE:MODE specifies.

    "smoke" is a run of seconds on the factory, with a narrow, shallow model and a few short clips.
    """
    if mode not in ("", "smoke"):
        raise ValueError(f"config mode {mode!r}; known: smoke")
    if mode == "smoke":
        # Machines of the factory alone: other recordings, named by data.root, are all taken.
        config.data.update(root="factory", machines="", clip_seconds=1.0)
        config.factory.update(machines="fan,gearbox")
        config.factory.update(train_source=12, train_target=3, test_per_condition=4)
        # A smoke run starts from scratch, so there are no weights to take statistics from.
        if config.features.statistics == "weights":
            config.features.update(statistics="train")
        config.model.update(size="tiny", depth=2, width=64, heads=2)
        config.model.update(block=-1, weights="none", embedding_dim=32)
        config.optimizer.update(epochs=2, batch_size=8, learning_rate=1e-3)
        # A dozen clips are too few to estimate a covariance.
        config.scoring.update(back_end="knn")
        config.log.update(every=2, checkpoint_every=4)
        config.report.update(clips=1)
