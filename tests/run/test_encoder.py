"""The encoder of a run."""

import dataclasses
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from machine_sound import sound

from asd_jax.config import Model, RunConfig, Size
from asd_jax.data.audio import read_clip
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.settings import Features
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.models.settings import Tokens
from asd_jax.run import encoder
from asd_jax.run.encoder import (
    check_run,
    compute_dtype,
    eat_config,
    encoder_config,
    front_end,
    front_end_of_bank,
    frozen_pooling,
    log_energy_statistics,
    note_other_front_end,
    note_slow_dtype,
    pretrained_eat,
    training_mesh,
)
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from asd_jax.training.weights import load_encoder, random_eat, save_encoder, save_weights

CONFIG = with_values(RunConfig(), {"data.clip_seconds": 1.0})
SIZES = EATConfig(32, 1, 2)
BANK = FrontEnd("mel", bins=64, mean=-5.0, std=4.0, simam=SimAM("none"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An encoder that was trained with BANK."""
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    sizes = dataclasses.replace(SIZES, mel_bins=64)
    save_encoder(path, EncoderConfig(BANK, sizes, Pooling("mean")), {"eat": random_eat(sizes, 0)})
    return str(path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An EAT whose file names no front end."""
    path = tmp_path_factory.mktemp("weights") / "bare.safetensors"
    save_weights(path, random_eat(SIZES, 0), {"kind": "eat", "eat": dataclasses.asdict(SIZES)})
    return str(path)


def config(**values):
    return with_values(CONFIG, {name.replace("__", "."): of for name, of in values.items()})


def test_bfloat16_on_a_cpu_is_said_to_be_slow(monkeypatch, capsys):
    for backend, dtype, said in (
        ("cpu", "bfloat16", "--config.model.dtype=float32"),
        ("cpu", "float32", ""),
        ("gpu", "bfloat16", ""),
    ):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        note_slow_dtype(Size(dtype=dtype))
        out = capsys.readouterr().out
        assert bool(out) == bool(said) and said in out


def test_every_setting_of_the_filter_bank_reaches_the_front_end():
    of_user = {"spacing": "even", "bins": 64, "low_hz": 100.0, "high_hz": 6000.0}
    of_user |= {"mean": -5.5, "std": 2.5}
    front = front_end_of_bank(Features(**of_user), SimAM("global"))
    assert {name: getattr(front, name) for name in of_user} == of_user
    assert front.simam == SimAM("global")


@pytest.mark.parametrize(
    ("sizes", "bins", "said"),
    [
        ({"width": 3}, 128, "model.width=3 must lie in 4..8192"),
        ({"heads": 5}, 128, "model: EAT width 768 must be divisible by 5 heads and by 4"),
        ({}, 8, "features.bins=8 must lie in 16..512"),
    ],
)
def test_sizes_are_blamed_on_the_keys_that_give_them(sizes, bins, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        eat_config(Size(size="base", **sizes), bins)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scoring__normalization": "held_out"}, "scoring.normalization=held_out needs"),
        ({"features__spacing": "no_such_module:f"}, "No module named 'no_such_module'"),
        ({"data__clip_seconds": 0.1}, "data.clip_seconds=0.1: too short"),
        ({"features__bins": 80}, "features.bins=80 must be a multiple of 32 with local SimAM"),
        ({"features__simam_tile_frames": 5}, "features.simam: a tile of 5 frames must divide 32"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_cannot_be_computed_is_refused_before_anything_is_read(values, said, training):
    with pytest.raises(InputError, match=f"{said}"):
        check_run(config(**values), training=training)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"parallel__shards": 3}, "`shards=3` does not divide"),
        ({"model__pooling": "band_mean"}, "model.pooling=band_mean keeps the bands apart"),
        ({"tokens__bands": "apart"}, "tokens.bands=apart keeps the bands apart"),
        ({"model__heads": 5}, "EAT width 768 must be divisible by 5 heads"),
    ],
)
def test_what_only_a_training_cannot_do_is_refused_for_a_training_alone(values, said):
    check_run(config(**values), training=False)
    with pytest.raises(InputError, match=said):
        check_run(config(**values))


def test_a_run_may_measure_its_statistics_or_use_a_filter_bank_of_ones_own(monkeypatch):
    module = types.ModuleType("toy_banks")
    module.bank = lambda sample_rate, bins, low_hz, high_hz: np.ones((bins, 257))
    monkeypatch.setitem(sys.modules, "toy_banks", module)
    for training in (True, False):
        # No clip is read for the check.
        check_run(config(features__statistics="train"), training=training)
        check_run(config(features__spacing="toy_banks:bank"), training=training)


def test_only_another_runtime_than_jax_is_looked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(encoder, "check_runtime", asked.append)
    check_run(CONFIG)
    check_run(config(model__runtime="openvino"))
    assert asked == ["openvino"]


def test_every_setting_of_simam_reaches_the_front_end():
    features = {
        "features.simam": "global",
        "features.simam_lambda": 0.5,
        "features.simam_before_normalization": True,
        "features.simam_ignores_padding": True,
        "features.simam_tile_frames": 16,
        "features.simam_tile_filters": 64,
    }
    assert front_end(with_values(CONFIG, features)).simam == SimAM(
        "global", 0.5, before_normalization=True, ignores_padding=True, tile=(16, 64)
    )


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.975, 96), (0.985, 128), (1.0, 128), (10.0, 1024)]
)
def test_clips_are_padded_to_whole_tiles_of_32_frames(seconds, frames):
    assert front_end(config(data__clip_seconds=seconds)).frames == frames


def test_a_machine_without_a_mode_of_simam_is_named():
    clips = [Clip("a.wav", "fan", "00", "train", "source", 0, "")]
    with pytest.raises(InputError, match="features.simam names no mode for machine fan"):
        front_end(config(features__simam={"pump": "local"}), clips)
    front_end(config(features__simam={"fan": "local"}), clips)


def test_statistics_are_those_of_the_keys_of_the_weights_or_of_the_training_clips(
    weights, monkeypatch
):
    asked = []

    def measured(config, front, clips):
        asked.append((front.mean, front.std, clips))
        return 1.5, 2.5

    monkeypatch.setattr(encoder, "training_statistics", measured)
    given = {"features__mean": -3.0, "features__std": 3.0, "model__weights": weights}
    # The bank stays that of the config.
    for origin, found in (("given", (-3.0, 3.0)), ("weights", (-5.0, 4.0)), ("train", (1.5, 2.5))):
        front = front_end(config(**given, features__statistics=origin))
        assert (front.spacing, front.bins, front.mean, front.std) == ("even", 128, *found)
    assert asked == [(-3.0, 3.0, ())]


def test_statistics_of_weights_that_have_none_are_refused(bare):
    for name in ("", "none", bare):
        with pytest.raises(InputError, match=f"model.weights={name!r} has no front end of its own"):
            front_end(config(features__statistics="weights", model__weights=name))


def test_another_front_end_than_that_of_pre_training_is_said(weights, bare, capsys):
    note_other_front_end(weights, BANK)
    for name in ("", "none", bare):
        note_other_front_end(name, FrontEnd())
    # SimAM and the length are not a matter of pre-training.
    note_other_front_end(weights, dataclasses.replace(BANK, simam=SimAM("local"), frames=64))
    assert capsys.readouterr().out == ""
    note_other_front_end(weights, dataclasses.replace(BANK, std=2.0, spacing="even"))
    differences = "spacing mel there, even here; std 4.0 there, 2.0 here"
    said = f"{weights} was pre-trained with another front end: {differences}"
    assert " ".join(capsys.readouterr().out.split()) == said


def test_statistics_are_of_the_training_clips_alone_each_at_the_length_of_training(tmp_path):
    """With three clips, a batch of two would count one twice."""
    clips = []
    for n, split in enumerate(["train", "train", "train", "test", "held_out"]):
        path = tmp_path / f"{n}.wav"
        soundfile.write(path, (n + 1) * 0.1 * sound(n, 1.5), 16000, subtype="FLOAT")
        clips.append(Clip(str(path), "fan", "00", split, "source", 0, ""))
    front = FrontEnd()
    for length in ("fit", "bucket"):
        mean, std = encoder.training_statistics(config(data__length=length), front, clips)
        waves = np.stack([read_clip(clip.path)[:16000] for clip in clips[:3]])
        energies = np.asarray(front.log_energies(waves), np.float64)
        # measured 1e-8: float32 in batches of another size
        assert (mean, std) == pytest.approx((energies.mean(), energies.std()), rel=1e-6)


def test_the_config_says_how_many_threads_read_the_clips_that_are_measured(monkeypatch):
    asked = {}
    monkeypatch.setattr(encoder, "clip_batches", lambda *_, **given: asked.update(given) or [])
    monkeypatch.setattr(encoder, "log_energy_statistics", lambda *_: (0.0, 1.0))
    encoder.training_statistics(config(data__threads=7), FrontEnd(), [])
    assert asked["threads"] == 7


class Energies(FrontEnd):
    """A front end whose waveforms are energies already."""

    def log_energies(self, wave):
        return wave


def test_mean_and_deviation_are_those_of_all_energies_together():
    batches = np.random.default_rng(0).normal(-4, 3, size=(5, 2, 7))
    mean, std = log_energy_statistics(Energies(), iter(batches))
    assert (mean, std) == pytest.approx((batches.mean(), batches.std()), rel=1e-12)
    assert type(mean) is type(std) is float


def test_the_encoder_of_a_training_is_that_of_the_config():
    values = {
        "model.pooling": "mean",
        "model.block": -2,
        "model.embedding_dim": 16,
        "model.attention": "se",
        "model.size": "tiny",
        "model.depth": 2,
        "features.bins": 64,
        "features.simam": "none",
        "tokens.gem_power": 2.0,
    }
    found = encoder_config(with_values(CONFIG, values), [])
    pooling = Pooling("mean", -2, 16, Tokens(gem_power=2.0))
    assert found == EncoderConfig(
        FrontEnd(bins=64, simam=SimAM("none"), frames=128),
        EATConfig(192, 2, 3, mel_bins=64),
        pooling,
        "se",
    )
    plain = encoder_config(with_values(CONFIG, values | {"model.encoder": "filter_bank"}), [])
    assert plain == EncoderConfig(found.front_end, None, pooling)


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, EATConfig(1024, 24, 16, mel_bins=64)),
        ({"width": 256}, EATConfig(256, 24, 16, mel_bins=64)),
        ({"depth": 3}, EATConfig(1024, 3, 16, mel_bins=64)),
        ({"heads": 4}, EATConfig(1024, 24, 4, mel_bins=64)),
    ],
)
def test_a_size_has_the_values_that_the_config_leaves_open(changes, sizes):
    assert eat_config(Size(size="large", **changes), 64) == sizes


def test_pre_trained_weights_must_have_the_sizes_of_the_config(bare):
    fitting = Model(size="tiny", width=32, depth=1, heads=2, weights=bare)
    sizes, params = pretrained_eat(fitting, 128)
    wanted = load_encoder(bare)
    assert sizes == wanted[0] == SIZES
    jax.tree.map(np.testing.assert_array_equal, params, wanted[1])
    assert pretrained_eat(dataclasses.replace(fitting, weights="none"), 128) is None
    with pytest.raises(InputError, match="--config.model.weights names no weight file"):
        pretrained_eat(dataclasses.replace(fitting, weights=""), 128)
    with pytest.raises(InputError, match="bare.safetensors holds .*set --config.model.size to fit"):
        pretrained_eat(dataclasses.replace(fitting, depth=2), 128)


def test_a_frozen_encoder_has_no_projection():
    values = {"frozen.block": -3, "tokens.gem_power": 2.0}
    wanted = Pooling("band_mean", -3, 0, Tokens(gem_power=2.0))
    assert frozen_pooling(with_values(CONFIG, values)) == wanted
    values["frozen.pooling"] = "gem"
    assert frozen_pooling(with_values(CONFIG, values)) == dataclasses.replace(wanted, kind="gem")


def test_pseudo_classes_come_from_the_frozen_encoder_before_its_training(monkeypatch, tmp_path):
    asked = {}

    def embedder(pipeline, read, batching, dtype):
        asked.update(pipeline=pipeline, batching=batching, dtype=dtype)
        return "embed"

    monkeypatch.setattr(encoder.pseudo_classes, "frozen_embedder", embedder)
    window = Window("a.wav", "fan", "00", "train", "source", 0, "pseudo_0", 0, 16000)

    def classified(windows, embed_clips, **more):
        asked.update(windows=windows, embed_clips=embed_clips, **more)
        return [window]

    monkeypatch.setattr(encoder.pseudo_classes, "with_pseudo_classes", classified)
    values = {"data__pseudo_classes": 6, "optimizer__batch_size": 5, "data__threads": 3, "seed": 2}
    run = config(**values, model__dtype="bfloat16", frozen__block=-1)
    trained = EncoderConfig(FrontEnd(simam=SimAM("none")), SIZES, Pooling("mean"), "se")
    path = tmp_path / "classes.json"
    for pretrained in (None, (SIZES, {"cls": 1})):
        assert encoder.with_pseudo_classes(run, [], trained, pretrained, path) == [window]
        assert (asked["windows"], asked["embed_clips"]) == ([], "embed")
        assert (asked["clusters"], asked["path"]) == (6, path)
        frozen = asked["pipeline"].config
        assert frozen == EncoderConfig(trained.front_end, SIZES, frozen_pooling(run))
        eat = pretrained[1] if pretrained else random_eat(SIZES, 2)
        jax.tree.map(np.testing.assert_array_equal, asked["pipeline"].params, {"eat": eat})
    assert (asked["batching"].batch_size, asked["batching"].threads) == (5, 3)
    assert asked["dtype"] is jnp.bfloat16


def test_the_devices_of_a_training_share_its_batch_and_its_state(monkeypatch):
    monkeypatch.setattr("asd_jax.training.mesh.chosen_device", lambda: None)
    mesh = training_mesh(config(optimizer__batch_size=16, parallel__shards=4))
    assert mesh.devices.shape == (2, 4)
    with pytest.raises(InputError, match="`batch_size=16` clips in `accumulate=4` parts"):
        training_mesh(config(optimizer__batch_size=16, optimizer__accumulate=4))


def test_eat_computes_in_the_type_of_the_config():
    assert compute_dtype(Size()) is jnp.float32
    assert compute_dtype(Size(dtype="bfloat16")) is jnp.bfloat16
