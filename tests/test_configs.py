import dataclasses
import importlib
import tokenize
from pathlib import Path

import pytest

from asd_jax.models.eat import EATConfig
from asd_jax.run import experiment
from asd_jax.scoring.options import Scoring
from asd_jax.training.pretraining import Pretraining
from asd_jax.training.settings import FineTuning
from configs import base, pretrain_base

CONFIGS = ["base", "toycar", "dcase2024", "quickstart"]


@pytest.mark.parametrize("mode", ["", "smoke"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_the_keys_of_base(name, mode):
    config = importlib.import_module(f"configs.{name}").get_config(mode)
    assert {k: set(v) if hasattr(v, "keys") else None for k, v in config.items()} == {
        k: set(v) if hasattr(v, "keys") else None for k, v in base.get_config().items()
    }


def test_smoke_is_narrower_and_shallower():
    config = importlib.import_module("configs.toycar").get_config("smoke")
    sizes = experiment.eat_config(config)
    assert sizes.depth < EATConfig.tiny().depth and sizes.embed_dim < EATConfig.tiny().embed_dim
    with pytest.raises(ValueError, match="mode 'fast'; known: smoke"):
        base.get_config("fast")


def test_every_key_of_base_has_a_comment():
    # the second of a pair, and the last lines
    uncommented = [
        number
        for number, line in enumerate(Path(base.__file__).read_text().splitlines(), 1)
        if line.startswith("    ")
        and " = " in line
        and "ConfigDict" not in line
        and "#" not in line
        and line.strip().split(" ")[0]
        not in ("features.high_hz", "features.std", "model.width", "model.heads", "config")
    ]
    assert not uncommented
    with tokenize.open(base.__file__) as file:
        assert file.read().startswith('"""Every key')


def test_scoring_and_training_options_are_the_configs():
    config = base.get_config()
    assert Scoring(**config.scoring) == Scoring() and set(config.scoring) == {
        f.name for f in dataclasses.fields(Scoring)
    }
    assert experiment.fine_tuning(config) == FineTuning()
    pre = pretrain_base.get_config()
    assert Pretraining(**pre.pretraining, **pre.optimizer) == Pretraining()


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("local", "local"),
        ("{ToyCar: local, fan: global}", (("ToyCar", "local"), ("fan", "global"))),
        ("{'ToyCar': 'none'}", (("ToyCar", "none"),)),
    ],
)
def test_simam_per_machine_can_be_typed(text, mode):
    config = base.get_config()
    config.features.simam = text
    assert experiment.front_end(config).simam.mode == mode


def test_frames_of_the_front_end_are_those_of_the_clips():
    config = base.get_config()
    assert experiment.front_end(config).frames == 1024
    config.data.clip_seconds = 2.0
    assert experiment.front_end(config).frames == 224
