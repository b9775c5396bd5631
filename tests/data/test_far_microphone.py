"""The second microphone of the factory."""

import dataclasses

import numpy as np
import pytest
import soundfile

from asd_jax.data.far_microphone import stereo_clip, write_stereo
from asd_jax.data.synthesis import factory_clip


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
