import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.filter_bank import log_filter_bank, normalize
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.simam import simam
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked

WAVE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16000)) * 0.1, jnp.float32)


def test_frames_are_padded_with_zeros_before_the_normalisation():
    x = FrontEnd(simam=SimAM("none")).spectrogram(WAVE)
    assert x.shape == (2, 128, 128)  # 98 frames to the next multiple of 32
    np.testing.assert_allclose(x[:, 98:], 0.467061, atol=1e-6)
    np.testing.assert_allclose(x[:, :98], normalize(log_filter_bank(WAVE)), atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_samples_are_the_fewest_that_give_the_frames(rate):
    front_end = FrontEnd(sample_rate=rate)
    for frames in (1, 2, 5, 100):
        samples = front_end.samples(frames)
        assert front_end.real_frames(samples) == frames
        assert front_end.real_frames(samples - 1) == frames - 1


def test_simam_follows_normalisation_or_precedes_it():
    after = FrontEnd(simam=SimAM("local"))
    plain = after.spectrogram(WAVE)
    np.testing.assert_allclose(
        after.attend(plain, None, 16000), simam(plain, tile=(32, 32)), atol=1e-6
    )
    before = FrontEnd(simam=SimAM("local", before_normalization=True))
    energies = jnp.pad(log_filter_bank(WAVE), ((0, 0), (0, 30), (0, 0)))
    expected = normalize(simam(energies, tile=(32, 32)))
    np.testing.assert_allclose(
        before.attend(before.spectrogram(WAVE), None, 16000), expected, atol=1e-5
    )
    assert np.abs(expected - simam(plain, tile=(32, 32))).max() > 0.1  # the order does matter


def test_customized_simam_picks_by_machine():
    custom = FrontEnd(simam=SimAM({"fan": "local", "pump": "global"}))
    plain = custom.spectrogram(WAVE)
    modes = jnp.array([custom.simam.mode_of("pump"), custom.simam.mode_of("fan")])
    attended = custom.attend(plain, modes, 16000)
    # measured 3.6e-6: sums in another order
    np.testing.assert_allclose(attended[0], simam(plain)[0], atol=8e-6)
    np.testing.assert_allclose(attended[1], simam(plain, tile=(32, 32))[1], atol=8e-6)
    with pytest.raises(InputError, match="names no mode for machine valve; it has fan, pump"):
        custom.simam.mode_of("valve")
    with pytest.raises(ValueError, match="mode of each clip"):
        custom.attend(plain, None, 16000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing": "linear"}, "known: even, mel, gammatone"),
        ({"low_hz": 9000.0}, "from 9000.0 to 8000.0 Hz"),
        ({"std": 0.0}, "std=0.0 must be above 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        FrontEnd(**settings)


def test_a_header_brings_back_the_front_end_that_wrote_it():
    front_end = FrontEnd(
        "mel", low_hz=50.0, std=0.5, simam=SimAM({"pump": "none", "fan": "local"}, tile=(16, 1))
    )
    header = json.loads(json.dumps(dataclasses.asdict(front_end)))
    assert build_checked(FrontEnd, header) == front_end
    with pytest.raises(InputError, match="unknown mode lokal"):
        build_checked(FrontEnd, header | {"simam": header["simam"] | {"mode": "lokal"}})
