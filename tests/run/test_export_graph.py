"""What an exported model is checked on, and what the check refuses."""

import numpy as np
import pytest
import soundfile

from asd_jax.run.export_graph import Model, check, recorded_waveforms, synthetic_waveforms

RATE = 16000


def model(samples=None, **about):
    def original(wave):
        return {"score": wave.mean(1) + 2, "threshold": np.float32(2)}

    about = {"kind": "detector", "sample_rate": RATE, "samples": samples, **about}
    return Model(original, original, {**about, "outputs": ["score", "threshold"]})


def scores(*values):
    return lambda wave: {"score": np.array(values), "threshold": np.float32(2)}


def test_the_difference_is_relative_above_one():
    waves = [np.full((2, 8), 0.5)]
    assert check(model(), scores(2.5001, 2.5), waves) == pytest.approx(1e-4 / 2.5)
    with pytest.raises(RuntimeError, match="the exported detector differs by 4.0e-02"):
        check(model(), scores(2.5, 2.6), waves)


def test_another_verdict_is_refused_however_small_the_difference():
    with pytest.raises(RuntimeError, match="another verdict than the original"):
        check(model(), scores(2.00001, 2), [np.zeros((2, 8))])


def test_a_model_of_one_length_is_checked_on_that_length_alone():
    assert {wave.shape[1] for wave in synthetic_waveforms(model(samples=4000), 1.0)} == {4000}
    assert len({wave.shape[1] for wave in synthetic_waveforms(model(), 1.0)}) == 2


def test_recordings_lose_what_the_detector_did_not_know(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(tmp_path / "noise.wav", noise, RATE)
    (wave,) = recorded_waveforms(model(recorded_rate=8000), str(tmp_path), 0.5)
    assert wave.shape == (1, RATE // 2)
    energy = np.abs(np.fft.rfft(wave[0] * np.hanning(RATE // 2))) ** 2
    assert energy[2100:].sum() < 1e-3 * energy.sum()  # above 4200 Hz
