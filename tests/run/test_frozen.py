"""The frozen encoder, and the front end that it hears with."""

import dataclasses

import jax
import numpy as np
import pytest

import asd_jax.evaluate
from asd_jax.config import Frozen, Model, RunConfig, with_set_features
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.models.settings import Tokens
from asd_jax.run.frozen import frozen_encoder, frozen_front_end, in_words
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from asd_jax.training.weights import (
    abstract_encoder,
    embed,
    random_eat,
    save_encoder,
    save_weights,
)

SIZES = EATConfig(32, 2, 2)
SMALL = {"model.size": "tiny", "model.width": 32, "model.depth": 2, "model.heads": 2}
OWN = FrontEnd("mel", mean=-5.0, std=4.0, simam=SimAM("none"))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A bare EAT with random weights whose header names OWN, as convert.eat writes it."""
    path = tmp_path_factory.mktemp("eat") / "converted.safetensors"
    header = {"kind": "eat", "eat": dataclasses.asdict(SIZES)}
    save_weights(path, random_eat(SIZES, 0), {**header, "front_end": dataclasses.asdict(OWN)})
    return str(path)


def config_of(weights, **changes):
    config = with_values(RunConfig(model=Model(weights=weights)), changes)
    return with_set_features(config)


def test_a_converted_checkpoint_is_heard_with_the_front_end_of_its_header(converted, capsys):
    encoder, params = frozen_encoder(config_of(converted), [])
    assert encoder.front_end == OWN
    said = capsys.readouterr().out
    assert "o-FB (mel), 128 filters 20-8000 Hz, mean -5, std 4, SimAM none" in " ".join(
        said.split()
    )
    assert "from the header of converted.safetensors" in " ".join(said.split())
    wave = np.random.default_rng(0).normal(size=(1, 16000)).astype(np.float32)
    keys = {"features.spacing": "mel", "features.simam": "none", "features.mean": -5.0}
    by_hand, _ = frozen_encoder(
        with_values(
            config_of(converted), {**keys, "features.std": 4.0, "frozen.features": "config"}
        ),
        [],
    )
    found = (embed(one, params, wave)[0] for one in (encoder, by_hand))
    np.testing.assert_array_equal(*found)


def test_only_the_keys_that_are_set_replace_values_of_the_header(converted, capsys):
    front = frozen_front_end(config_of(converted, **{"features.simam": "global"}), [])
    assert front.simam == SimAM("global")
    assert dataclasses.replace(front, simam=OWN.simam, frames=0) == OWN
    assert "but simam=global as set" in " ".join(capsys.readouterr().out.split())
    front = frozen_front_end(
        with_values(config_of(converted), {"frozen.features": "statistics, simam"}), []
    )
    # statistics=given means the config's mean and deviation: AudioSet's.
    assert (front.spacing, front.mean, front.std) == ("mel", -4.268, 4.569)
    assert front.simam == SimAM("local")
    assert frozen_front_end(
        with_values(config_of(converted), {"frozen.features": "config"}), []
    ) == (dataclasses.replace(FrontEnd(), frames=1024))
    with pytest.raises(InputError, match="features='simamm'.* Did you mean 'simam'"):
        Frozen(features="simamm")


def test_a_key_typed_with_its_default_is_set_too(converted, command, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "asd_jax.run.score.embed_frozen", lambda config, *_, **__: seen.append(config)
    )
    flags = ["--config=configs/base.py", f"--weights={converted}", f"--workdir={tmp_path}"]
    for more in ([], ["--config.features.simam=local"], ["--config.frozen.features=config"]):
        assert command(asd_jax.evaluate, *flags, *more)[0] == 0
    assert [config.frozen.features for config in seen] == ["weights", "simam", "config"]


def test_a_fine_tuned_encoder_keeps_its_front_end_but_for_the_keys_that_are_set(encoder_file):
    own, _ = frozen_encoder(config_of(str(encoder_file)), [])
    assert own.front_end == FrontEnd("even", simam=SimAM("global"))
    other, _ = frozen_encoder(config_of(str(encoder_file), **{"features.spacing": "mel"}), [])
    assert (other.front_end.spacing, other.front_end.simam.mode) == ("mel", "global")
    assert own.pooling == other.pooling


def test_an_encoder_with_trained_attention_keeps_it_whatever_the_pooling(tmp_path):
    trained = EncoderConfig(FrontEnd(simam=SimAM("none")), EATConfig(32, 1, 2), Pooling(), "se")
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), abstract_encoder(trained))
    save_encoder(tmp_path / "attended.safetensors", trained, params)
    weights = str(tmp_path / "attended.safetensors")
    config = RunConfig(model=Model(weights=weights), frozen=Frozen(pooling="mean", block=-1))
    encoder, params = frozen_encoder(config, [])
    assert encoder.attention == "se" and set(params) == {"attention", "eat"}
    assert embed(encoder, params, np.zeros((1, 16000), np.float32))[0].shape == (1, 32)


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_the_filter_bank_is_an_encoder_without_parameters(capsys):
    values = {"model.encoder": "filter_bank", "features.spacing": "gammatone"}
    encoder, params = frozen_encoder(with_values(RunConfig(), values), [])
    assert encoder.eat is None and params == {} and encoder.front_end.spacing == "gammatone"
    assert said(capsys) == f"front end: {in_words(encoder.front_end)}"


def test_random_weights_are_those_of_the_seed_with_the_frozen_pooling(capsys):
    config = with_values(RunConfig(), {**SMALL, "model.weights": "none", "seed": 5})
    encoder, params = frozen_encoder(config, [])
    front = FrontEnd(frames=1024)
    assert encoder == EncoderConfig(front, SIZES, Pooling("band_mean", -2, 0))
    jax.tree.map(np.testing.assert_array_equal, params, {"eat": random_eat(SIZES, 5)})
    assert said(capsys) == f"front end: {in_words(front)}; from features of the config"


def test_a_bare_eat_has_the_frozen_pooling_and_its_own_parameters(converted):
    encoder, params = frozen_encoder(config_of(converted, **{"frozen.pooling": "gem"}), [])
    assert encoder == EncoderConfig(OWN, SIZES, Pooling("gem", -2, 0))
    jax.tree.map(np.testing.assert_array_equal, params, {"eat": random_eat(SIZES, 0)})


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """A fine-tuned encoder that pools its tokens in its own way."""
    path = tmp_path_factory.mktemp("pooled") / "pooled.safetensors"
    pooling = Pooling("attentive_statistics", -1, 8, Tokens(gem_power=2.0))
    config = EncoderConfig(OWN, SIZES, pooling)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), abstract_encoder(config))
    save_encoder(path, config, params)
    return str(path), config, params


def test_a_fine_tuned_encoder_pools_as_it_was_trained_or_as_the_config_says(pooled):
    weights, config, params = pooled
    encoder, found = frozen_encoder(config_of(weights), [])
    assert encoder == config
    jax.tree.map(np.testing.assert_array_equal, found, params)
    # The keys of the tokens may be those of the file, but no others, which would not count.
    assert frozen_encoder(config_of(weights, **{"tokens.gem_power": 2.0}), [])[0] == config
    with pytest.raises(InputError, match="pools its tokens in its own way"):
        frozen_encoder(config_of(weights, **{"tokens.gem_power": 4.0}), [])
    changes = {"tokens.gem_power": 4.0, "frozen.pooling": "gem", "features.simam": "global"}
    encoder, found = frozen_encoder(config_of(weights, **changes), [])
    assert encoder.pooling == Pooling("gem", -2, 0, Tokens(gem_power=4.0))
    assert encoder.front_end.simam == SimAM("global") and encoder.front_end.mean == -5.0
    # Parameters of a pooling that is not used are left behind.
    assert set(found) == {"eat"} and set(params) > {"eat"}


ODD = FrontEnd(
    "mel",
    bins=64,
    low_hz=50.0,
    high_hz=7000.0,
    mean=-5.0,
    std=4.0,
    simam=SimAM(
        {"fan": "local", "pump": "none"},
        0.5,
        before_normalization=True,
        ignores_padding=True,
        tile=(16, 32),
    ),
)


def test_every_value_of_the_header_is_kept_but_those_that_are_set(tmp_path, capsys):
    path = tmp_path / "odd.safetensors"
    sizes = dataclasses.replace(SIZES, mel_bins=64)
    header = {"kind": "eat", "eat": dataclasses.asdict(sizes)}
    save_weights(path, random_eat(sizes, 0), {**header, "front_end": dataclasses.asdict(ODD)})
    config = config_of(str(path), **{"features.high_hz": 6000.0})
    wanted = dataclasses.replace(ODD, high_hz=6000.0, frames=1024)
    assert frozen_front_end(config, []) == wanted
    origin = "the header of odd.safetensors, but high_hz=6000.0 as set"
    assert said(capsys) == " ".join(f"front end: {in_words(wanted)}; from {origin}".split())


@pytest.mark.parametrize("name", ["", "none"])
def test_without_weights_the_front_end_is_that_of_the_config(name):
    config = with_values(RunConfig(), {"model.weights": name, "features.mean": -3.0})
    assert frozen_front_end(config, []) == FrontEnd(mean=-3.0, frames=1024)


def test_a_front_end_in_words_has_its_numbers_and_tiles_where_there_are_some():
    assert in_words(FrontEnd()) == (
        "m-FB (even), 128 filters 20-8000 Hz, mean -4.268, std 4.569, SimAM local 32 x 32"
    )
    modes = "{'fan': 'local', 'pump': 'none'}"
    assert in_words(ODD) == (
        f"o-FB (mel), 64 filters 50-7000 Hz, mean -5, std 4, SimAM {modes} 16 x 32"
    )
    whole = dataclasses.replace(ODD, spacing="gammatone", simam=SimAM("global"))
    assert in_words(whole).startswith("g-FB (gammatone), ")
    assert in_words(whole).endswith("SimAM global")
