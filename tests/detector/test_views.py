"""Claims about the views of a window."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector import views as module
from asd_jax.detector.views import (
    batch_size,
    for_machine,
    in_batches,
    load_pipeline_or_eat,
    mel_front_end,
    rate_of,
    scoring_of,
    second_starts,
    shapes,
    views,
    views_and_unsteadiness,
)
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.options import Scoring
from asd_jax.training.weights import load_pipeline


def test_level_and_fluctuation_are_those_of_the_log_energies_and_seconds_their_parts():
    wave = np.concatenate([sound(0), 0.1 * sound(1)])[None]
    vectors, seconds = views(None, wave, with_rhythm=False)
    energies = np.asarray(mel_front_end(RATE).log_energies(wave))[0]
    assert set(vectors) == {"level", "fluctuation"}
    np.testing.assert_allclose(vectors["level"][0], energies.mean(0), rtol=1e-5)
    np.testing.assert_allclose(vectors["fluctuation"][0], energies.std(0), rtol=1e-4)
    starts = second_starts(len(energies))
    assert starts == [0, 100, 200, 298] and len(energies) == 398  # the last ends with the window
    parts = [energies[start : start + 100].mean(0) for start in starts]
    np.testing.assert_allclose(seconds[0], parts, rtol=1e-5)


def test_windows_in_batches_have_the_views_of_each_alone():
    waves = np.stack([sound(seed) for seed in range(3)])
    together, _ = views(None, waves, with_rhythm=False)
    for n, wave in enumerate(waves):
        alone, _ = views(None, wave[None], with_rhythm=False)
        for view, vectors in alone.items():
            np.testing.assert_allclose(together[view][n], vectors[0], rtol=1e-5, atol=1e-5)


def test_a_mode_of_simam_for_each_machine_needs_the_machine(encoder_file):
    pipeline = load_pipeline(encoder_file)
    assert for_machine(pipeline, None) is pipeline
    simam = SimAM({"pump": "global", "fan": "local"})
    front_end = dataclasses.replace(pipeline.config.front_end, simam=simam)
    config = dataclasses.replace(pipeline.config, front_end=front_end)
    several = dataclasses.replace(pipeline, config=config)
    modes = {
        name: for_machine(several, name).config.front_end.simam.mode for name in ("pump", "fan")
    }
    assert modes == {"pump": "global", "fan": "local"}
    with pytest.raises(InputError, match="give --machine, one of"):
        for_machine(several, None)


def test_unsteadiness_is_the_difference_between_the_halves_of_a_window():
    wave = np.concatenate([sound(0, 0.5), 0.1 * sound(1, 0.505)])[None]
    energies = np.asarray(mel_front_end(RATE).log_energies(wave))[0]
    half = len(energies) // 2
    difference = energies[:half].mean(0) - energies[-half:].mean(0)
    _, _, found = views_and_unsteadiness(None, wave, with_rhythm=False)
    np.testing.assert_allclose(found, [np.sqrt(np.square(difference).mean())], rtol=1e-4)
    assert len(energies) == 99


def test_a_window_shorter_than_a_second_is_its_only_second():
    wave = sound(0, 0.5)[None]
    vectors, seconds = views(None, wave, with_rhythm=False)
    assert seconds.shape == (1, 1, 128)
    np.testing.assert_allclose(seconds[:, 0], vectors["level"], rtol=1e-5)
    assert second_starts(80) == [0] and second_starts(250) == [0, 100, 150]


def test_the_shapes_of_the_views_are_known_without_computing_them(encoder_file):
    pipeline = load_pipeline(encoder_file)
    vectors, _ = views(None, sound(0)[None])
    known = {view: of.shape[1:] for view, of in vectors.items()}
    assert set(known) == {"level", "fluctuation", "rhythm"}
    assert shapes(None, 32000) == known and known["level"] == (128,)
    assert shapes(None, 32000, with_rhythm=False) == dict.fromkeys(("level", "fluctuation"), (128,))
    assert shapes(pipeline, 32000) == known | {"encoder": (8, 32)}


def test_the_front_end_reaches_up_to_half_the_rate(encoder_file):
    assert mel_front_end(8000) == FrontEnd("mel", 8000, high_hz=4000.0, simam=SimAM("none"))
    pipeline = load_pipeline(encoder_file)
    front_end = dataclasses.replace(pipeline.config.front_end, sample_rate=8000, high_hz=4000.0)
    config = dataclasses.replace(pipeline.config, front_end=front_end)
    assert rate_of(dataclasses.replace(pipeline, config=config)) == 8000 and rate_of(None) == 16000


def test_windows_are_computed_in_batches_of_eight_and_a_single_one_alone():
    seen = []

    def both(windows):
        seen.append(windows.shape)
        return {"sums": jnp.sum(windows, 1), "windows": windows}

    windows = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    sums, same = in_batches(both, windows)
    assert batch_size() == 8 and seen == [(8, 5), (8, 5)]
    np.testing.assert_allclose(sums, windows.sum(1), rtol=1e-5)
    assert np.array_equal(same, windows)
    in_batches(both, windows[:1])
    assert seen[2:] == [(1, 5)]


def test_each_view_has_its_back_ends_and_a_rhythm_counts_if_most_sounds_have_it(encoder_file):
    filter_bank = Scoring(
        back_end="pca_residual+local_density", distance="euclidean", standardize=True
    )
    every = dict.fromkeys(("level", "fluctuation", "rhythm"), filter_bank)
    assert scoring_of(None) == every

    def regular(*of):
        return {"rhythm": np.stack([of, np.ones(len(of))], 1)}

    assert scoring_of(None, regular(0.5, 0.5, 0.0)) == every
    assert set(scoring_of(None, regular(0.49, 0.49, 1.0))) == {"level", "fluctuation"}
    pipeline = load_pipeline(encoder_file)
    assert scoring_of(pipeline)["encoder"] == Scoring(back_end="mahalanobis")
    pooling = dataclasses.replace(pipeline.config.pooling, embedding_dim=16)
    config = dataclasses.replace(pipeline.config, pooling=pooling)
    tuned = scoring_of(dataclasses.replace(pipeline, config=config))
    assert tuned["encoder"] == Scoring(back_end="local_density")


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ({"kind": "encoder"}, {}),
        ({"kind": "eat", "eat": {"depth": 12}}, {"pooling": "band_mean", "block": -2}),
        ({"kind": "eat", "eat": {"depth": 1}}, {"pooling": "band_mean", "block": -1}),
        ({"kind": "eat", "eat": "depth"}, {"pooling": "band_mean", "block": -2}),
    ],
)
def test_a_bare_eat_is_pooled_from_its_last_block_but_one(
    encoder_file, monkeypatch, header, options
):
    pipeline = load_pipeline(encoder_file)
    given = []
    monkeypatch.setattr(module, "read_header", lambda path: header)
    monkeypatch.setattr(module, "load_pipeline", lambda path, **o: given.append(o) or pipeline)
    assert load_pipeline_or_eat("a.safetensors") is pipeline and given == [options]


def test_another_runtime_computes_the_embedding_alone(encoder_file, monkeypatch):
    pipeline = load_pipeline(encoder_file)
    windows = np.stack([sound(n) for n in range(9)])
    here, seconds = views(None, windows, with_rhythm=False)
    sizes = []

    def embed(of):
        sizes.append(len(of))
        return of[:, :3], None

    monkeypatch.setattr(module, "embed_in", lambda *given: embed)
    other = dataclasses.replace(pipeline, runtime="openvino")
    there, seconds_there = views(other, windows, with_rhythm=False)
    assert np.array_equal(there.pop("encoder"), windows[:, :3]) and sizes == [8, 1]
    assert there.keys() == here.keys() and np.allclose(seconds, seconds_there)
