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


def test_resampling_overshoots_full_scale_but_no_window_does():
    square = np.sign(np.sin(np.arange(5000) / 9)).astype(np.float32)
    windows = cut(WindowCutter(100, 100, 8000), square, 5000, 16000)
    assert len(windows) == 25
    for part in (windows[:20], windows[-3:]):  # the last ones come when the stream ends
        samples = np.concatenate([window for _, window in part])
        assert (samples.min(), samples.max()) == (-1.0, 1.0)


def test_a_stream_whose_rate_changes_to_and_fro_loses_and_repeats_nothing():
    cutter = WindowCutter(100, 100, 8000)
    windows = []
    for block, rate in ((WAVE[:700], 16000), (WAVE, 8000), (WAVE[:3000], 16000), (WAVE, 8000)):
        windows += cutter.feed(block, rate)
    assert cutter.received == 350 + 5000 + 1500 + 5000
    assert [start for start, _ in windows] == list(range(0, 11800, 100))
    # Sound of the cutter's own rate stays as it is.
    joined = np.concatenate([window for _, window in windows])
    assert np.array_equal(joined[350:5350], WAVE) and np.array_equal(joined[6850:], WAVE[:4950])


def test_all_of_a_stream_that_is_shorter_than_a_window_remains():
    cutter = WindowCutter(700, 300, 8000)
    assert list(cutter.feed(WAVE[:699], 8000)) == []
    assert cutter.remaining == cutter.received == 699
