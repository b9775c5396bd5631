"""The second microphone of the factory."""

import dataclasses

import numpy as np
import pytest
import soundfile
from scipy.signal import coherence

from asd_jax.data.far_microphone import stereo_clip, write_stereo
from asd_jax.data.synthesis import factory_clip

# Samples 9000, 12345 and the last one of a clip.
GOLDEN = {
    ("machine", 1): [0.00272880555153694, 0.00045718287827300737, 0.002483921257291419],
    ("room", 0): [0.0017550415359437466, 0.015287477523088455, -0.002213721629232168],
    ("room", 1): [-0.01213706802986919, 0.004863663312594769, 0.00024831341851229243],
    ("fault", 1): [0.003976224496059399, -0.0011464480232441512, -0.003713152317650258],
    "elsewhere": [0.0006659167289867817, -0.0013344154308979278, 6.64926308533828e-05],
}


def level(wave):
    return 10 * np.log10(np.mean(np.square(wave)))


def test_the_far_microphone_has_the_levels_asked_for():
    clip = factory_clip("fan", seed=1, fault_kind="tone")
    found = stereo_clip(clip, leak_db=-10.0, room_db=6.0)
    np.testing.assert_array_equal(found.machine[0], clip.machine_stem)
    np.testing.assert_array_equal(found.fault[0], clip.fault)
    # the path of the leak has energy 1, and the machine is no white noise: measured 1.7 dB off
    assert level(found.machine[1]) - level(found.machine[0]) == pytest.approx(-10, abs=3.4)
    assert level(found.room[0]) - level(found.machine[0]) == pytest.approx(6, abs=1e-4)
    assert level(found.room[1]) == pytest.approx(level(found.room[0]), abs=1e-9)
    np.testing.assert_allclose(found.wave, found.machine + found.room + found.fault)


def test_a_recording_is_the_same_in_every_version():
    """Recorded figures of two microphones rest on it."""
    clip = factory_clip("fan", seed=1, fault_kind="tone")
    found = stereo_clip(clip)
    for name, channel in (("machine", 1), ("room", 0), ("room", 1), ("fault", 1)):
        wave = getattr(found, name)[channel]
        np.testing.assert_allclose(wave[[9000, 12345, -1]], GOLDEN[name, channel], rtol=1e-6)
    other = stereo_clip(clip, leak_db=-20.0, place=1)
    np.testing.assert_allclose(other.machine[1][[9000, 12345, -1]], GOLDEN["elsewhere"], rtol=1e-6)
    same = stereo_clip(clip, leak_db=-10, room_db=0, place=0)
    np.testing.assert_array_equal(found.wave, same.wave)


def test_the_room_at_the_far_microphone_is_mostly_that_at_the_near_one():
    found = stereo_clip(factory_clip("fan", seed=1))
    _, shared = coherence(*found.room, fs=16000, nperseg=4096)
    assert np.median(shared) == pytest.approx(0.9, abs=0.05)  # measured 0.877


def test_the_places_are_the_same_in_all_clips_of_a_set():
    """A recording of twice the sound is twice the recording, and another place another one."""
    one, other = (stereo_clip(factory_clip("fan", seed=seed)) for seed in (1, 2))
    delays = [
        np.argmax(np.correlate(of.machine[1], of.machine[0][:8000], "valid")[:400])
        for of in (one, other)
    ]
    assert delays[0] == delays[1] and 2 / 343 * 16000 <= delays[0] <= 4 / 343 * 16000 + 1
    elsewhere = stereo_clip(factory_clip("fan", seed=1), place=1)
    assert not np.allclose(elsewhere.machine[1], one.machine[1])


def test_what_comes_late_through_the_room_is_noise_and_no_hum():
    """Neighbouring samples of the tail of an impulse response have no correlation."""
    clip = factory_clip("fan", seed=1)
    impulse = np.zeros_like(clip.machine_stem)
    impulse[0] = 1.0
    clip = dataclasses.replace(clip, machine_stem=impulse)
    response = stereo_clip(clip, leak_db=0.0).machine[1]
    direct = np.abs(response).argmax()
    tail = response[direct + 1 :][: 3 * 800]  # the length of the tail: three time constants
    assert np.abs(tail[-80:]).max() > 1e-4  # 26 dB below its beginning, far above rounding
    # of white noise that decays: measured -0.027
    assert abs(np.corrcoef(tail[1:], tail[:-1])[0, 1]) < 0.054


def test_a_recording_is_written_with_16_bits_a_sample(tmp_path):
    wave = np.stack([np.linspace(-1.5, 1.5, 1600), np.linspace(0.25, -0.25, 1600)])
    write_stereo(tmp_path / "a.wav", wave)
    samples, rate = soundfile.read(tmp_path / "a.wav", always_2d=True)
    assert rate == 16000 and soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    assert np.abs(samples.T - wave.clip(-1, 32767 / 32768)).max() <= 0.5 / 32768
