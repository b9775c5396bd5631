import numpy as np
import pytest
import soundfile

from asd_jax.data.clips import Clip
from asd_jax.data.windows import bucket_samples, cut_windows, windows_of
from asd_jax.runtime.errors import InputError


def test_windows_overlap_and_the_last_ends_with_the_clip():
    windows, starts = cut_windows(np.arange(11), 4, 3)
    np.testing.assert_array_equal(starts, [0, 3, 6, 7])
    np.testing.assert_array_equal(
        windows, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [7, 8, 9, 10]]
    )


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


def recording(folder, name, seconds, rate=16000):
    soundfile.write(folder / name, np.zeros(round(seconds * rate)), rate)
    return Clip(str(folder / name), "fan", "00", "train", "source", 0, "")


def test_what_is_heard_of_a_clip(tmp_path):
    clips = [recording(tmp_path, "a.wav", 2.5), recording(tmp_path, "b.wav", 0.5, rate=44100)]
    fit = windows_of(clips, length="fit", samples=16000)
    assert [(w.path, w.start, w.samples) for w in fit] == [(c.path, 0, 16000) for c in clips]
    cut = windows_of(clips, length="window", samples=16000, hop=16000)
    assert [(w.path, w.start) for w in cut] == [(clips[0].path, s) for s in (0, 16000, 24000)] + [
        (clips[1].path, 0)
    ]
    whole = windows_of(clips, length="bucket", samples=16000)
    assert [w.samples for w in whole] == [bucket_samples(40000), bucket_samples(8000)]
    assert all(w.machine == "fan" and w.label == 0 for w in cut)
    with pytest.raises(InputError, match="data.length='crop'; known: fit, window, bucket"):
        windows_of(clips, length="crop", samples=16000)
