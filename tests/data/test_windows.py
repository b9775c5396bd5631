import numpy as np
import pytest

from asd_jax.data.windows import bucket_samples, cut_windows, merge_windows
from asd_jax.errors import InputError


def test_windows_overlap_and_the_last_ends_with_the_clip():
    windows, starts = cut_windows(np.arange(11), 4, 3)
    np.testing.assert_array_equal(starts, [0, 3, 6, 7])
    np.testing.assert_array_equal(windows, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [7, 8, 9, 10]])


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(("samples", "hop"), [(10, 5), (10, 10), (10, 3), (10, 1)])
def test_every_sample_is_in_a_window_and_no_window_twice(length, samples, hop):
    windows, starts = cut_windows(np.arange(length), samples, hop)
    assert windows.shape == (len(starts), samples)
    assert set(windows.ravel()) == set(range(length))
    assert len(set(starts)) == len(starts) and (np.diff(starts) <= hop).all()


def test_short_clip_gives_one_window_repeated():
    windows, starts = cut_windows(np.arange(3), 5, 2)
    np.testing.assert_array_equal(windows, [[0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(starts, [0])


def test_scores_of_windows_are_averaged_or_their_maximum_taken():
    scores, clip = np.array([1.0, 3.0, -2.0, 5.0, 7.0, 0.0]), np.array([0, 0, 1, 2, 2, 2])
    np.testing.assert_allclose(merge_windows(scores, clip), [2, -2, 4])
    np.testing.assert_array_equal(merge_windows(scores, clip, how="max"), [3, -2, 7])
    with pytest.raises(InputError, match="no way 'median'"):
        merge_windows(scores, clip, how="median")


@pytest.mark.parametrize("samples", [400, 401, 5360, 5361, 96000, 160000, 160001, 288000])
def test_bucket_is_the_least_multiple_of_32_frames_that_holds_the_clip(samples):
    length = bucket_samples(samples)
    frames = 1 + (length - 400) / 160
    assert frames % 32 == 0 and length >= samples
    assert length - 32 * 160 < samples  # the bucket below is too short


def test_all_lengths_from_6_to_18_s_need_39_shapes():
    seconds = np.linspace(6, 18, 1201)
    assert len({bucket_samples(int(16000 * s)) for s in seconds}) == 39
    assert bucket_samples(160000) == 400 + 1023 * 160
