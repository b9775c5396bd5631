"""Claims about where a sound is odd."""

import numpy as np
import pytest
from detectors import HEALTHY
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector
from asd_jax.runtime.errors import InputError


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
