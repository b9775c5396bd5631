import importlib

import pytest

import asd_jax.config
from asd_jax.config import PretrainConfig, RunConfig, described, read_config
from asd_jax.models.eat import EATConfig
from asd_jax.run.encoder import eat_config, front_end
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.scoring.options import Scoring
from asd_jax.training.settings import FineTuning, Pretraining
from configs import base, pretrain_base

CONFIGS = ["base", "toycar", "dcase2024", "dcase2025", "dcase2026", "quickstart"]


@pytest.mark.parametrize("mode", ["", "smoke"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_the_keys_of_base(name, mode):
    config = importlib.import_module(f"configs.{name}").get_config(mode)
    assert {k: set(v) if hasattr(v, "keys") else None for k, v in config.items()} == {
        k: set(v) if hasattr(v, "keys") else None for k, v in base.get_config().items()
    }


def test_smoke_is_narrower_and_shallower():
    config = importlib.import_module("configs.toycar").get_config("smoke")
    sizes = eat_config(read_config(RunConfig, config).model, config.features.bins)
    assert sizes.depth < EATConfig.tiny().depth and sizes.embed_dim < EATConfig.tiny().embed_dim
    with pytest.raises(ValueError, match="mode 'fast'; known: smoke"):
        base.get_config("fast")


@pytest.mark.parametrize("config", [RunConfig(), PretrainConfig()])
def test_every_key_says_what_it_means_and_is_listed_once(config):
    rows = list(described(config))
    assert all(len(meaning) > 4 for _, _, meaning in rows)
    assert len({name for name, _, _ in rows}) == len(rows)


def test_the_listing_shows_every_key_with_its_default_and_its_meaning(command):
    status, said, _ = command(asd_jax.config)
    assert status == 0
    meaning = "clips in a training step, and in a batch of embedding"
    assert f"--config.optimizer.batch_size=32\n    {meaning}" in said
    assert "--config.data.zoo_share=0.0" in command(asd_jax.config, "--pretrain")[1]


def test_settings_go_to_a_config_file_and_come_back():
    assert read_config(RunConfig, base.get_config()) == RunConfig()
    assert read_config(PretrainConfig, pretrain_base.get_config()) == PretrainConfig()
    assert RunConfig().fine_tuning == FineTuning() and RunConfig().scoring == Scoring()
    assert PretrainConfig().settings == Pretraining()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": 3}, "config: optimizer=3 should have keys: epochs, "),
        ({"optimiser": {}}, "config: no key 'optimiser'; it has .* Did you mean 'optimizer'?"),
        ({"seeds": "4"}, "seeds='4' should be of type int, e.g. 1"),
        ({"seeds": 10**9}, "seeds=1000000000 must lie in 1..1000"),
        ({"seed": True}, "seed=True should be of type int, e.g. 0"),
        ({"seed": 2.0}, "seed=2.0 should be of type int, e.g. 0"),
        ({"compiled": None}, "compiled=None should be of type str"),
    ],
)
def test_what_a_config_cannot_hold_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        read_config(RunConfig, {**to_dict(RunConfig()), **changes})


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("local", "local"),
        ("{ToyCar: local, fan: global}", (("ToyCar", "local"), ("fan", "global"))),
        ("{'ToyCar': 'none'}", (("ToyCar", "none"),)),
    ],
)
def test_simam_per_machine_can_be_typed(text, mode):
    config = with_values(RunConfig(), {"features.simam": text})
    assert front_end(config).simam.mode == mode


def test_frames_of_the_front_end_are_those_of_the_clips():
    assert front_end(RunConfig()).frames == 1024
    assert front_end(with_values(RunConfig(), {"data.clip_seconds": 2.0})).frames == 224
