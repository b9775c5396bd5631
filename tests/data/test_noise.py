import numpy as np
import pytest

from asd_jax.data.batches import Examples, training_batches
from asd_jax.data.clips import Clip
from asd_jax.data.noise import noise_adder

NOISE = [Clip(f"n{n}", "fan", "00", "supplemental", "unknown", -1, "noise") for n in range(3)]
CLIPS = [Clip(f"{n}", "fan", "00", "train", "source", 0, "") for n in range(6)]
WAVE = np.sin(np.arange(8000) / 7).astype(np.float32)


def read_noise(clip):
    rng = np.random.default_rng(int(clip.path[1:]))
    return rng.normal(size=3000).astype(np.float32)


def adder(probability=1.0, low_db=5.0, high_db=20.0):
    return noise_adder(NOISE, read_noise, probability=probability, low_db=low_db, high_db=high_db)


def ratio_db(wave, changed):
    return 10 * np.log10(np.mean(wave**2) / np.mean((changed - wave) ** 2))


def test_the_ratio_lies_in_its_range_and_varies():
    rng = np.random.default_rng(0)
    ratios = [ratio_db(WAVE, adder()(WAVE, rng)) for _ in range(50)]
    assert 4.9 < min(ratios) < 7 and 18 < max(ratios) < 20.1


def test_a_fixed_ratio_is_reached():
    rng = np.random.default_rng(0)
    changed = adder(low_db=10.0, high_db=10.0)(WAVE, rng)
    # measured 0.02: the noise is repeated, so its power over the clip differs from its own
    assert ratio_db(WAVE, changed) == pytest.approx(10, abs=0.05) and changed.dtype == np.float32


def test_the_probability_is_the_share_of_changed_clips():
    rng = np.random.default_rng(0)
    changed = [adder(0.5)(WAVE, rng) is not WAVE for _ in range(200)]
    assert 0.4 < np.mean(changed) < 0.6
    assert adder(0.0)(WAVE, rng) is WAVE


def test_silent_noise_changes_nothing():
    silent = noise_adder(NOISE, lambda clip: np.zeros(10), probability=1.0, low_db=5.0, high_db=5.0)
    assert silent(WAVE, np.random.default_rng(0)) is WAVE


def test_a_batch_is_the_same_wherever_the_run_begins():
    def batches(start):
        order = {"batch_size": 2, "epochs": 2, "seed": 3, "start": start, "threads": 1}
        examples = Examples(CLIPS, [{}] * 6, lambda clip: WAVE, change=adder(0.5))
        return [batch["wave"] for batch in training_batches(examples, **order)]

    whole = batches(0)
    np.testing.assert_array_equal(whole[3:], batches(3))
    assert not np.array_equal(whole[0], whole[3])
