"""Mixtures, gain and equaliser, measured in the sound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.data.mixtures import mixtures, own_sound_prevails, recolored

CLIPS = 6
SAMPLES = 8000
SETTINGS = {"share": 0.5, "low_db": -10.0, "high_db": 15.0}


@pytest.fixture(scope="module")
def tones():
    """Clip n is a tone of 500 (n + 1) Hz, at a level of its own."""
    second = np.arange(SAMPLES) / 16000
    levels = 5.0 ** -np.arange(CLIPS)[:, None] * 0.5
    hz = 500 * (1 + np.arange(CLIPS)[:, None])
    return (levels * np.sin(2 * np.pi * hz * second)).astype(np.float32)


def powers(wave):
    """The power of each tone in each clip, "b tones"."""
    spectrum = np.abs(np.fft.rfft(np.asarray(wave, np.float64))) ** 2
    return spectrum[:, 250 * (1 + np.arange(CLIPS))]


def rms_db(wave):
    return 10 * np.log10(np.mean(np.square(np.asarray(wave, np.float64)), axis=1))


def test_a_mixture_has_the_ratio_of_powers_that_is_returned_and_one_level(tones):
    settings = {**SETTINGS, "share": 1.0}
    mixed, ratio = mixtures(jax.random.key(0), tones, **settings)
    power = powers(mixed)
    own = power[np.arange(CLIPS), np.arange(CLIPS)]
    other = power[np.arange(CLIPS), np.arange(CLIPS) - 1]
    np.testing.assert_allclose(10 * np.log10(own / other), ratio, atol=1e-3)  # measured 1e-5
    assert (np.asarray(ratio) >= -10).all() and (np.asarray(ratio) <= 15).all()
    assert np.ptp(ratio) > 5
    np.testing.assert_allclose(rms_db(mixed), -30, atol=1e-3)  # measured 2e-6
    np.testing.assert_allclose(power.sum(1), own + other, rtol=1e-6)


def test_only_the_share_is_mixed(tones):
    alone, ratio = mixtures(jax.random.key(0), tones, **{**SETTINGS, "share": 0.0})
    assert np.isposinf(ratio).all()
    np.testing.assert_allclose(alone / alone[:, 1:2], tones / tones[:, 1:2], rtol=1e-4)
    many = np.tile(tones[:1], (400, 1))[:, :16]
    _, ratio = mixtures(jax.random.key(0), many, **SETTINGS)
    assert np.isfinite(ratio).mean() == pytest.approx(0.5, abs=0.075)  # three standard deviations


def test_a_silent_clip_is_not_in_its_mixture(tones):
    tones = tones.copy()
    tones[2] = 0
    mixed, ratio = mixtures(jax.random.key(0), tones, **{**SETTINGS, "share": 1.0})
    assert np.isfinite(mixed).all() and np.isneginf(ratio[2])
    assert powers(mixed)[2].argmax() == 1 and not own_sound_prevails(ratio)[2]
    alone, ratio = mixtures(jax.random.key(0), tones, **{**SETTINGS, "share": 0.0})
    assert not np.asarray(alone[2]).any() and np.isposinf(ratio[2])


def test_own_sound_prevails_from_equal_power_on():
    ratio = np.array([-np.inf, -0.1, 0, 3, np.inf], np.float32)
    assert own_sound_prevails(jnp.asarray(ratio)).tolist() == [False, False, True, True, True]


def test_the_gain_is_drawn_within_its_range(tones):
    wave = np.tile(tones[:1] * 0.01, (400, 1))[:, :1600]
    gain = rms_db(recolored(jax.random.key(0), wave, gain_db=20.0, equalizer_db=0.0))
    gain = gain - rms_db(wave)
    assert np.abs(gain).max() <= 20 + 1e-4 and np.ptp(gain) > 38
    assert gain.std() == pytest.approx(20 / np.sqrt(3), rel=0.07)  # of a uniform distribution
    same = recolored(jax.random.key(0), tones, gain_db=0.0, equalizer_db=0.0)
    np.testing.assert_array_equal(same, tones)


def test_the_equalizer_is_smooth_and_as_strong_as_asked():
    impulse = np.zeros((300, 1024), np.float32)
    impulse[:, 0] = 0.01
    heard = recolored(jax.random.key(1), impulse, gain_db=0.0, equalizer_db=3.0)
    response = 20 * np.log10(np.abs(np.fft.rfft(np.asarray(heard, np.float64))) / 0.01)
    points = response[:, np.linspace(0, 512, 8).round().astype(int)]
    assert points.std() == pytest.approx(3.0, rel=0.06)  # of 2400 draws
    assert np.abs(np.diff(response, axis=1)).max() < 0.3  # dB from bin to bin of 15.6 Hz
    assert len({round(value, 3) for value in response[:, 100]}) > 250


def test_loud_sound_is_clipped_at_full_scale():
    loud = recolored(
        jax.random.key(0), np.ones((20, 64), np.float32), gain_db=20.0, equalizer_db=0.0
    )
    assert np.abs(loud).max() == 1 and np.abs(loud).min() < 1


def test_the_same_key_gives_the_same_sounds(tones):
    for change in (
        lambda key: mixtures(key, tones, **SETTINGS)[0],
        lambda key: recolored(key, tones, gain_db=20.0, equalizer_db=3.0),
    ):
        first, again, other = (change(jax.random.key(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
