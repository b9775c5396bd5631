"""Windows cut from a stream: none missed, none repeated, however the sound arrives."""

import numpy as np
import pytest

from asd_jax.detector.window_cutter import WindowCutter

WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)


def cut(cutter, wave, size, rate):
    blocks = [wave[n : n + size] for n in range(0, len(wave), size)]
    windows = [window for block in blocks for window in cutter.feed(block, rate)]
    return windows + list(cutter.finish())


@pytest.mark.parametrize("hop", [300, 700, 1000])
@pytest.mark.parametrize("size", [1, 333, 5000])
def test_windows_lie_a_hop_apart_and_hold_the_sound(hop, size):
    cutter = WindowCutter(700, hop, 8000)
    windows = cut(cutter, WAVE, size, 8000)
    assert [start for start, _ in windows] == list(range(0, 5000 - 699, hop))
    for start, window in windows:
        assert np.array_equal(window, WAVE[start : start + 700])
    assert cutter.received == 5000
    assert cutter.remaining == 5000 - (windows[-1][0] + 700)


def test_resampled_windows_do_not_depend_on_how_the_sound_arrives():
    whole, pieces = (cut(WindowCutter(700, 700, 8000), WAVE, size, 16000) for size in (5000, 7))
    assert [start for start, _ in whole] == [0, 700, 1400]
    for (_, one), (_, other) in zip(whole, pieces, strict=True):
        assert np.array_equal(one, other)
