"""What cancelling removes and keeps, on the factory with a far microphone that leaks."""

import numpy as np
import pytest
import soundfile
from scipy.signal import stft

from asd_jax.data.audio import read_clip, read_clip_int16
from asd_jax.data.far_microphone import stereo_clip, write_stereo
from asd_jax.data.machines import FAULTS
from asd_jax.data.synthesis import factory_clip
from asd_jax.data.two_microphones import LOUDER, cancelled, cancelling
from asd_jax.runtime.errors import InputError


def stereo(seed, fault="", *, grade=1.0, room_db=10.0):
    """The far microphone records the machine 10 dB below the near one."""
    clip = factory_clip("fan", seed=seed, fault_kind=fault, grade=grade)
    return stereo_clip(clip, leak_db=-10.0, room_db=room_db)


def spectra(waves):
    return stft(waves, window="hann", nperseg=1024, noverlap=512)[2]


def w1(near, far):
    c, f = spectra(np.stack([near, far]))
    return np.sum(c * f.conj(), 1) / (np.sum(np.abs(f) ** 2, 1) + 1e-12)


def kept(clip, guarded):
    """The share of the fault's energy left by the filter that is fitted to the recording."""
    h = w1(*clip.wave)
    h = np.where(guarded & (np.abs(h) > LOUDER), 0, h)
    near, far = spectra(clip.fault)
    return np.sum(np.abs(near - h[:, None] * far) ** 2) / np.sum(np.abs(near) ** 2)


@pytest.mark.parametrize("samples", [32000, 16384, 12345])
def test_cancelling_is_the_published_filter(samples):
    """The definition in float64, written out frame by frame."""
    near, far = (np.resize(channel, samples) for channel in stereo(0).wave)
    scale = 0.9 / max(np.abs(near).max(), np.abs(far).max())
    window = np.hanning(1025)[:-1]
    pair = np.pad(scale * np.stack([near, far]), ((0, 0), (512, 512)), mode="reflect")
    pair = np.pad(pair, ((0, 0), (0, -(pair.shape[1] - 1024) % 512)))
    starts = range(0, pair.shape[1] - 1023, 512)
    c, f = np.stack([np.fft.rfft(pair[:, n : n + 1024] * window, axis=1) for n in starts], 1)
    h = (c * f.conj()).sum(0) / ((np.abs(f) ** 2).sum(0) + 1e-12)
    total = np.zeros(pair.shape[1])
    weight = np.zeros(pair.shape[1])
    for n, frame in zip(starts, np.fft.irfft(c - h * f, axis=1), strict=True):
        total[n : n + 1024] += frame * window
        weight[n : n + 1024] += window**2
    expected = (total / np.maximum(weight, 1e-9) / scale)[512 : 512 + samples]
    # measured 3.8e-9 (float32 of the result), at a peak of 0.17
    np.testing.assert_allclose(cancelled(near, far), expected, atol=8e-9)


def test_a_sound_that_both_microphones_record_alike_vanishes():
    noise = np.random.default_rng(0).normal(size=8000) * 0.1
    assert np.abs(cancelled(noise, noise)).max() < 1e-6
    assert np.abs(cancelled(noise, 0.5 * noise)).max() < 1e-6
    silence = np.zeros(8000, np.float32)
    np.testing.assert_array_equal(cancelled(silence, silence), silence)


def test_guarded_keeps_what_is_louder_near_than_far():
    noise = np.random.default_rng(0).normal(size=8000) * 0.1
    np.testing.assert_allclose(cancelled(noise, 0.5 * noise, guarded=True), noise, atol=1e-7)
    assert np.abs(cancelled(noise, noise, guarded=True)).max() < 1e-6


@pytest.mark.parametrize(
    ("room_db", "plain", "guarded"), [(10, 0.9, 0.95), (0, 0.7, 0.95), (-10, 0.6, 0.88)]
)
def test_guarded_keeps_faults_where_plain_cancelling_erases_them(room_db, plain, guarded):
    clips = [stereo(seed, fault, room_db=room_db) for seed in range(2) for fault in FAULTS]
    # measured 0.977, 0.997 and 0.940, plainly 0.821, 0.616 and 0.476
    assert np.mean([kept(clip, guarded=True) for clip in clips]) >= guarded
    assert np.mean([kept(clip, guarded=False) for clip in clips]) < plain


@pytest.mark.parametrize(("room_db", "low", "high"), [(10, 0.0, 0.1), (-10, 0.2, 1.0)])
def test_what_comes_from_the_machine_is_noticed(room_db, low, high):
    found = [cancelling(*stereo(seed, room_db=room_db).wave) for seed in range(4)]
    assert low <= np.mean([one.of_machine for one in found]) <= high  # 0.03 and 0.61


@pytest.mark.parametrize("channel", ["cancelled", "guarded"])
def test_a_file_is_read_as_its_cancelled_channel(tmp_path, channel):
    write_stereo(tmp_path / "a.wav", stereo(3).wave)
    near, far = (read_clip(tmp_path / "a.wav", channel=name) for name in ("near", "far"))
    np.testing.assert_array_equal(
        read_clip(tmp_path / "a.wav", channel=channel),
        cancelled(near, far, guarded=channel == "guarded").clip(-1, 1),
    )
    assert read_clip_int16(tmp_path / "a.wav", channel=channel).dtype == np.int16


def test_one_channel_cannot_be_cancelled(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), 16000)
    with pytest.raises(InputError, match="a.wav: no channel 'far' in a file of 1"):
        read_clip(tmp_path / "a.wav", channel="cancelled")
