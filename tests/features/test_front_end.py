import dataclasses
import json

import jax
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


def test_the_default_is_the_front_end_of_the_paper_and_of_the_public_encoders():
    bank = {"spacing": "even", "sample_rate": 16000, "bins": 128, "low_hz": 20.0, "high_hz": 8000.0}
    bank |= {"mean": -4.268, "std": 4.569, "frames": 0}
    simam = {"mode": "local", "e_lambda": 1e-4, "tile": (32, 32)}
    simam |= {"before_normalization": False, "ignores_padding": False}
    assert dataclasses.asdict(FrontEnd()) == bank | {"simam": simam}


def test_equal_settings_have_one_hash_as_programs_are_compiled_for_them():
    for one in (FrontEnd(), SimAM({"fan": "local"})):
        assert hash(one) == hash(dataclasses.replace(one))


NONE = SimAM("none")


@pytest.mark.parametrize(
    ("settings", "beyond"),
    [
        ({"sample_rate": 1000, "high_hz": 500.0}, {"sample_rate": 999}),
        ({"sample_rate": 96_000}, {"sample_rate": 96_001}),
        ({"frames": 0}, {"frames": -1}),
        ({"frames": 1_000_000}, {"frames": 1_000_001}),
        ({"low_hz": 0.0}, {"low_hz": -1.0}),
        ({"low_hz": 7999.0}, {"low_hz": 8000.0}),
        ({"low_hz": 0.5}, {"low_hz": 8001.0}),
        ({"high_hz": 8000.0}, {"high_hz": 8000.5}),
        ({"bins": 100, "simam": NONE}, {"bins": 100, "simam": SimAM()}),
        ({"bins": 64}, {"bins": 16}),
        ({"simam": SimAM(tile=(16, 128))}, {"simam": SimAM(tile=(24, 32))}),
        ({"simam": SimAM("global", tile=(24, 33))}, {"simam": SimAM(tile=(32, 33))}),
        ({"simam": SimAM(tile=(1, 1))}, {"simam": SimAM({"a": "local"}, tile=(64, 32))}),
    ],
)
def test_a_setting_may_be_at_the_end_of_what_is_possible_and_not_beyond(settings, beyond):
    found = FrontEnd(**settings)
    assert {name: getattr(found, name) for name in settings} == settings
    with pytest.raises(InputError):
        FrontEnd(**settings | beyond)


def test_the_sides_of_a_tile_are_those_of_a_map():
    assert SimAM(tile=(1, 512)).tile == (1, 512) and SimAM(tile=(512, 1)).tile == (512, 1)
    for tile in ((0, 32), (32, 0), (513, 32), (32, 513)):
        with pytest.raises(InputError):
            SimAM(tile=tile)
    with pytest.raises(InputError, match="e_lambda"):
        SimAM(e_lambda=0.0)


def test_the_mode_of_a_machine_is_a_number_that_a_program_can_take():
    assert [SimAM(mode).mode_of("fan") for mode in ("none", "global", "local")] == [0, 1, 2]
    each = SimAM({"pump": "none", "fan": "local"})
    assert [each.mode_of(machine) for machine in ("pump", "fan")] == [0, 2]
    assert each.modes == {"none", "local"} and SimAM("global").modes == {"global"}
    assert each.by_machine == {"fan": "local", "pump": "none"} and SimAM("global").by_machine == {}


@pytest.mark.parametrize("bins", [64, 512])
def test_a_centre_is_that_of_mass_and_an_empty_filter_takes_the_one_below(bins):
    front_end = FrontEnd("mel", bins=bins)
    hz = np.arange(257) * 31.25
    expected = [0.0]
    for weights in front_end.filters:
        there = weights.sum() > 0
        expected.append((weights * hz).sum() / weights.sum() if there else expected[-1])
    np.testing.assert_allclose(front_end.filter_centres, expected[1:], rtol=1e-12, atol=0)
    assert (np.diff(front_end.filter_centres) >= 0).all()
    assert (front_end.filter_centres[0] == 0) == (bins == 512)  # the lowest one is empty there


def test_every_setting_of_the_filter_bank_reaches_it():
    bank = {"spacing": "mel", "sample_rate": 22050, "bins": 64, "low_hz": 50.0, "high_hz": 3000.0}
    front_end = FrontEnd(**bank, mean=-3.0, std=0.5, simam=NONE)
    energies = log_filter_bank(WAVE, **bank)
    np.testing.assert_allclose(front_end.log_energies(WAVE), energies, atol=1e-6)
    frames = energies.shape[1]
    x = front_end.spectrogram(WAVE)
    np.testing.assert_allclose(x[:, :frames], normalize(energies, -3.0, 0.5), atol=1e-6)
    np.testing.assert_array_equal(front_end.attend(x, None, 16000), x)


def test_a_spectrogram_that_needs_no_padding_gets_none():
    front_end = FrontEnd(simam=NONE)
    for frames, padded in ((32, 32), (33, 64), (1, 32)):
        wave = WAVE[:, : front_end.samples(frames)]
        assert jax.eval_shape(front_end.spectrogram, wave).shape == (2, padded, 128)


@pytest.mark.parametrize("each", [False, True])
def test_every_setting_of_simam_reaches_it(each):
    settings = {"e_lambda": 0.5, "ignores_padding": True, "tile": (16, 64)}
    front_end = FrontEnd(
        simam=SimAM({"fan": "local", "pump": "global"} if each else "local", **settings)
    )
    plain = front_end.spectrogram(WAVE)
    modes = jnp.array([2, 1]) if each else None
    found = front_end.attend(plain, modes, 16000)
    of = {"e_lambda": 0.5, "valid_frames": 98}
    local = simam(plain, tile=(16, 64), **of)
    # measured 2e-6: sums in another order
    np.testing.assert_allclose(found[0], local[0], atol=8e-6)
    np.testing.assert_allclose(found[1], (simam(plain, **of) if each else local)[1], atol=8e-6)
    whole = FrontEnd(simam=SimAM("global", **settings))
    np.testing.assert_allclose(whole.attend(plain, None, 16000), simam(plain, **of), atol=1e-6)


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
