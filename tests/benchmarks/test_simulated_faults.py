import numpy as np
import pytest

from benchmarks import simulated_faults
from benchmarks.simulated_faults import ADDED_DB, simulated_fault

RATE = 16000
KINDS = ("_squeal", "_strikes", "_rubbing", "_missing_band", "_modulation")


@pytest.fixture(scope="module")
def wave():
    return (0.05 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


def test_the_same_seed_gives_the_same_fault_and_another_one_another(wave):
    first, again, other = (
        simulated_fault(wave, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32 and len(first) == len(wave) and np.abs(first - other).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_its_own_octave_most(wave, kind):
    centre = 1500.0
    faulty = getattr(simulated_faults, kind)(wave, RATE, centre, np.random.default_rng(3))
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    power = np.square(np.abs(np.fft.rfft(faulty - wave)))
    octave = (hz > centre / 2) & (hz < centre * 2)
    # Harmonics and ringing leave the octave; measured: .70 at least.
    assert power[octave].sum() > 0.5 * power.sum() > 0


def test_added_sound_has_the_stated_level_in_its_octave(wave):
    for seed in range(5):
        fault = np.sin(2 * np.pi * 1500 * np.arange(len(wave)) / RATE)
        added = simulated_faults._added(wave, fault, RATE, 1500.0, np.random.default_rng(seed))
        usual = np.square(simulated_faults._band(wave, RATE, 1500.0)).mean()
        ratio = 10 * np.log10(np.square(added - wave).mean() / usual)
        assert ADDED_DB[0] - 0.1 <= ratio <= ADDED_DB[1] + 0.1


def test_silence_and_a_low_rate_give_finite_sound():
    for rate in (2000, RATE):
        for seed in range(10):
            faulty = simulated_fault(np.zeros(rate), rate, np.random.default_rng(seed))
            assert np.isfinite(faulty).all()
