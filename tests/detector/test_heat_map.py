"""Claims about where a sound is odd."""

import jax.numpy as jnp
import numpy as np
import pytest
from detectors import HEALTHY
from machine_sound import RATE, sound

from asd_jax.detector import heat_map
from asd_jax.detector.detector import Detector
from asd_jax.detector.heat_map import Grid, HeatMap, grid, patches
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import Pipeline


@pytest.mark.parametrize("tokens", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_heat_map_points_at_the_fault(normal, encoder_file, plain, tokens, tmp_path):
    wave = sound(7, 2.0)
    wave[RATE:] += 0.3 * np.sin(2 * np.pi * 3150 * np.arange(RATE) / RATE).astype(np.float32)
    one = Detector.fit(normal[:8], RATE, weights=encoder_file, tokens=True) if tokens else plain
    one.save(tmp_path / "a.detector")
    seen = Detector.load(tmp_path / "a.detector").explain(np.concatenate([HEALTHY[0], wave]))
    assert np.array_equal(seen.values, one.explain(np.concatenate([HEALTHY[0], wave])).values)
    assert seen.start == 2.0 and seen.nearest in one.names and seen.nearest_start == 0.0
    assert seen.values.shape == (198, 128) and np.array_equal(seen.window, wave.clip(-1, 1))
    hottest = np.argwhere(seen.values == seen.values.max())
    assert hottest[:, 0].min() >= 96  # the whistle begins in frame 100
    assert np.abs(seen.front_end.filter_centres[hottest[:, 1]] - 3150).min() < (
        700 if tokens else 100
    )


def test_a_filter_bank_has_no_tokens(normal):
    with pytest.raises(InputError, match="needs an encoder that has them"):
        Detector.fit(normal[:8], RATE, weights=None, tokens=True)


def test_update_learns_the_patches_too(plain):
    other = [sound(300 + n, fault=0.01) for n in range(12)]
    test = sound(400, fault=0.01)
    assert plain.update(other).explain(test).values.max() < 0.5 * plain.explain(test).values.max()


@pytest.fixture(scope="module")
def three_blocks():
    """An encoder whose tokens are numbered in place of being computed."""
    config = EncoderConfig(
        FrontEnd("even", simam=SimAM("none")), EATConfig(48, 3, 2), Pooling("band_mean", -1, 0)
    )
    return Pipeline(config, {})


def test_tokens_are_those_of_the_middle_block_in_their_places(three_blocks, monkeypatch):
    class Numbered:
        """Gives each token of a block its number: the class first, then 4 times 8 places."""

        def __init__(self, config):
            assert config == three_blocks.config

        def apply(self, variables, wave):
            tokens = jnp.arange(33.0)[None, :, None] * jnp.ones((len(wave), 1, 48))
            return None, {"blocks": [tokens + 100 * block for block in range(3)]}

    monkeypatch.setattr(heat_map, "Encoder", Numbered)
    found = patches(three_blocks, True, sound(0, 0.5)[None])  # 48 frames: 3 whole tokens of 16
    assert found.shape == (1, 3, 8, 48)
    assert np.array_equal(found[0, :, :, 7], 101 + np.arange(24.0).reshape(3, 8))
    assert grid(three_blocks, True) == Grid(three_blocks.config.front_end, 16, 16, 48)


def test_patches_of_filters_are_two_filters_wide_and_four_frames_long(three_blocks):
    front_end = FrontEnd("even", RATE, high_hz=RATE / 2, simam=SimAM("none"))
    for pipeline in (None, three_blocks):
        assert grid(pipeline, False) == Grid(front_end, 4, 2, 2)
    wave = sound(0)[None]
    energies = np.asarray(front_end.log_energies(wave))[0, :196]
    expected = energies.reshape(49, 4, 64, 2).mean(1)
    np.testing.assert_allclose(patches(None, False, wave)[0], expected, rtol=1e-4)


def test_an_encoder_without_eat_has_no_tokens(three_blocks):
    bare = Pipeline(EncoderConfig(three_blocks.config.front_end, None), {})
    with pytest.raises(InputError, match="needs an encoder that has them"):
        grid(bare, True)


def test_a_heat_map_says_where_it_is_highest():
    values = np.zeros((198, 128), np.float32)
    values[50, 3] = 7.5
    front_end = FrontEnd("even", RATE, high_hz=RATE / 2, simam=SimAM("none"))
    heat = HeatMap(values, 2.0, np.zeros(2 * RATE, np.float32), front_end, "a.wav", 4.0)
    hz = f"{front_end.filter_centres[3]:.0f} Hz"
    for said in ("highest 7.5", "at 2.50 s", hz, "'a.wav' at 4.00 s"):
        assert said in repr(heat)
