import jax
import numpy as np
import pytest

from asd_jax.data.zoo import zoo_waves


@pytest.fixture(scope="module")
def waves():
    return np.asarray(zoo_waves(jax.random.key(0), clips=12, samples=16000))


@pytest.mark.slow
def test_the_same_key_gives_the_same_sounds(waves):
    np.testing.assert_array_equal(waves, zoo_waves(jax.random.key(0), clips=12, samples=16000))


def test_every_clip_is_another_machine_at_another_level(waves):
    assert np.isfinite(waves).all() and np.abs(waves).max() <= 1
    level = 10 * np.log10(np.mean(waves**2, axis=1))
    # drawn from -55 to -15 dB
    assert level.min() > -60 and level.max() < -12 and np.ptp(level) > 15
    spectra = np.log(
        np.abs(np.fft.rfft(waves * np.hanning(16000)))[:, 1:].reshape(12, 80, 100).mean(-1)
    )
    correlation = np.corrcoef(spectra - spectra.mean(0))
    assert correlation[~np.eye(12, dtype=bool)].max() < 0.95


def test_some_machines_run_in_lines_and_some_in_noise(waves):
    power = np.abs(np.fft.rfft(waves * np.hanning(16000))) ** 2
    # Share of the power in the strongest 1 % of the bins: 0.05 in white noise, 1 in a few lines.
    share = np.sort(power, axis=1)[:, -80:].sum(1) / power.sum(1)
    assert share.max() > 0.7 and share.min() < 0.2
