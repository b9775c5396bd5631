import dataclasses

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.factory import factory_clip
from asd_jax.data.simulated_session import simulated_session
from asd_jax.detector import processing
from asd_jax.detector.detector import Detector
from asd_jax.detector.notes import Kind
from asd_jax.detector.processing import COPIES, cut_waveform, process
from asd_jax.detector.settings import Settings
from asd_jax.runtime.errors import InputError

TWO = Settings(RATE, 2.0)


def test_each_window_is_simulated_in_two_sessions_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(processing, "SIMULATED", 7)
    waves = [sound(n) for n in range(6)]
    made = process(None, Settings(RATE, 2.0), waves)[0].simulated
    assert made.rows.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5] and COPIES == 2
    assert made.rows[made.first].tolist() == list(range(6))
    level = made.vectors["level"]
    assert np.abs(level[0] - level[1]).mean() > 0.05
    assert not np.array_equal(*(simulated_session(waves[0], RATE, n) for n in (0, 1)))


def test_a_recording_that_is_left_out_takes_its_windows_views_and_patches_with_it():
    whole, _ = process(None, Settings(RATE, 2.0), [sound(n) for n in range(4)])
    rest = whole.without([1])
    assert rest.windows.recording.tolist() == [0, 1, 2] and rest.recordings == 3
    kept = [0, 2, 3]
    np.testing.assert_array_equal(rest.vectors["level"], whole.vectors["level"][kept])
    assert rest.simulated.rows.tolist() == [0, 0, 1, 1, 2, 2]
    patches, recording = rest.patches
    for band, of in enumerate(recording):
        for new, old in enumerate(kept):
            known = whole.patches[0][band][whole.patches[1][band] == old].tolist()
            own = patches[band][of == new].tolist()
            assert own and all(patch in known for patch in own)


def test_windows_of_one_recording_are_simulated_up_to_the_limit_and_one_of_each_beyond_it(
    monkeypatch,
):
    monkeypatch.setattr(processing, "SIMULATED", 7)
    made, notes = process(None, TWO, [sound(n, 6.0) for n in range(3)])
    assert made.simulated.rows.tolist() == [0, 1, 2, 0, 1, 2, 3, 6] and notes == ()
    assert made.windows.recording.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert made.windows.start.tolist() == [0.0, 2.0, 4.0] * 3


def test_further_recordings_are_numbered_after_those_that_are_there():
    first, _ = process(None, TWO, [sound(n, 4.0) for n in range(2)])
    more, _ = process(None, TWO, [sound(n, 4.0) for n in range(2, 5)])
    both = first.with_more(more, 2)
    recording = np.repeat(np.arange(5), 2)
    windows = both.windows
    for column in (windows.recording, windows.group, windows.session):
        assert np.array_equal(column, recording)
    assert both.simulated.rows.tolist() == [
        0,
        1,
        0,
        1,
        2,
        3,
        2,
        3,
        *[4, 5] * 2,
        *[6, 7] * 2,
        8,
        9,
        8,
        9,
    ]
    for view, vectors in both.vectors.items():
        assert np.array_equal(vectors, np.concatenate([first.vectors[view], more.vectors[view]]))
    vectors, of = both.patches
    assert np.array_equal(of, np.concatenate([first.patches[1], more.patches[1] + 2], 1))
    assert np.array_equal(vectors, np.concatenate([first.patches[0], more.patches[0]], 1))
    assert both.names(None) == tuple(f"recording {n}" for n in range(5))
    assert more.names(None, 2) == both.names(None)[2:] and more.names(["a"] * 3) == ("a",) * 3
    # Files of earlier versions have no patches.
    bare = dataclasses.replace(first, patches=None)
    assert bare.with_more(more, 2).patches is first.with_more(bare, 2).patches is None
    assert bare.without([0]).patches is None


def test_defects_of_recordings_are_noted_by_name():
    clean = [sound(n) for n in range(2)]
    clipped = [np.sign(wave) for wave in clean]
    lossy = np.where(np.arange(32000) < 5000, 0, clean[0]).astype(np.float32)
    waves = [*clean, *clipped, lossy, clipped[0], np.zeros(32000, np.float32), clipped[1]]
    notes = process(None, TWO, waves, list("abcdefgh"))[1]
    assert {note.kind: note.partition(":")[0] for note in notes} == {
        Kind.CLIPPED_RECORDINGS: "c, d, f and 1 more",
        Kind.LOSSY_RECORDINGS: "e",
    }
    # Names of other recordings are an error that is raised later.
    for names in (None, ["a"]):
        (note,) = process(None, TWO, [*clean, *clipped, clipped[0]], names)[1]
        assert note.startswith("recording 2, recording 3, recording 4: clipped")
    (note,) = process(None, TWO, [*clean, clean[0][:28000]])[1]
    assert note.kind == Kind.SHORT_RECORDINGS and note.startswith("1 of 3 recordings are shorter")
    with pytest.raises(InputError, match="^no normal recordings"):
        process(None, TWO, [])


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.array(1.0), "a number where a waveform is expected"),
        (np.zeros((2, 9000)), r"float64 \(2, 9000\); expected one channel"),
        (np.zeros(9000, int), r"int64 \(9000,\); expected one channel of floats"),
        (np.zeros(399), "399 samples is shorter than one frame of 25 ms"),
        (np.where(np.arange(9000) == 5, np.nan, 0), "NaN or infinity"),
        (np.where(np.arange(9000) == 5, -4.1, 0), r"samples up to 4.1: scale it to \[-1, 1\]"),
    ],
)
def test_a_waveform_that_is_none_is_refused(wave, message):
    with pytest.raises(InputError, match=message):
        cut_waveform(wave, TWO, RATE)


def test_a_waveform_is_cut_into_windows_side_by_side_at_the_rate_of_the_encoder():
    wave = np.where(np.arange(400) == 5, -4.0, 0)  # of one frame, and as loud as may be
    windows, starts = cut_waveform(wave, TWO, RATE)
    assert windows.shape == (1, 32000) and starts.tolist() == [0] and windows.min() == -1
    square = np.sign(np.sin(np.arange(48000) / 9))
    windows, starts = cut_waveform(square, Settings(48000, 0.4), RATE)
    assert windows.shape == (3, 6400) and starts.tolist() == [0, 0.4, 0.6]
    assert (windows.min(), windows.max()) == (-1, 1)  # resampling overshoots
    assert windows.dtype == np.float32


@pytest.mark.slow
def test_a_gain_of_all_simulated_sessions_hardly_moves_the_threshold(monkeypatch):
    """With one simulated session of each window, thresholds of a real fan lay within a factor of
    1.9 for gains of -3 to 6 dB; with two within 1.13.
    """
    waves = [factory_clip("fan", session=0, seed=n, clip_seconds=1.0).wave for n in range(24)]
    found = []
    for decibels in (-3.0, 0.0, 3.0):

        def louder(wave, rate, number=0, gain=10 ** (decibels / 20)):
            return simulated_session(wave, rate, number) * np.float32(gain)

        monkeypatch.setattr(processing, "simulated_session", louder)
        found.append(Detector.fit(waves, RATE, weights=None).threshold)
    assert max(found) < 1.5 * min(found)  # measured 1.26
