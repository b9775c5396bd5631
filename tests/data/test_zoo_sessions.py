import jax
import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from asd_jax.data.zoo import SAMPLE_RATE
from asd_jax.data.zoo_sessions import CHANGES, zoo_sessions

# The program takes nine seconds to compile.
pytestmark = pytest.mark.slow
SESSIONS = 6
CLIPS = 3
SAMPLES = 8000
# A machine with spectral lines, which a change of speed moves.
KEY = jax.random.key(2)


def made(**changes):
    sizes = {"sessions": SESSIONS, "clips": CLIPS, "samples": SAMPLES}
    return np.asarray(zoo_sessions(KEY, changes=changes, **sizes))


def level(waves):
    """Log power "d b f" of bands of 62.5 Hz, in dB."""
    power = np.abs(np.fft.rfft(waves * np.hanning(SAMPLES))) ** 2
    bands = SAMPLES // 2 // 128
    return 10 * np.log10(power[..., : 128 * bands].reshape(*waves.shape[:2], 128, bands).mean(-1))


def differences(waves):
    """Root mean square difference (between sessions, within sessions) of the bands' levels."""
    of = level(waves)
    means = of.mean(1)
    within = np.sqrt(np.square(of - means[:, None]).sum((0, 1)) / (SESSIONS * (CLIPS - 1)))
    between = means.std(0, ddof=1)
    return np.sqrt(np.square(between).mean()), np.sqrt(np.square(within).mean())


@pytest.fixture(scope="module")
def unchanged():
    return made()


def test_the_same_key_gives_the_same_sessions_and_another_key_others(unchanged):
    np.testing.assert_array_equal(unchanged, made())
    sizes = {"sessions": SESSIONS, "clips": CLIPS, "samples": SAMPLES}
    other = np.asarray(zoo_sessions(jax.random.key(4), changes={}, **sizes))
    assert np.abs(level(other) - level(unchanged)).mean() > 3
    assert np.isfinite(unchanged).all() and np.abs(unchanged).max() <= 1


def test_without_changes_sessions_differ_no_more_than_clips(unchanged):
    between, within = differences(unchanged)
    assert between < within  # measured 0.55 and 0.98 dB


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_alone_is_audible_in_level_or_colour(change, unchanged):
    between, within = differences(made(**{change: 1.0}))
    without = differences(unchanged)[0]
    assert between > 1.6 * without  # measured 2.4 and more


def test_a_gain_moves_all_bands_alike_and_a_room_does_not(unchanged):
    for change, alike in (("gain", True), ("room", False)):
        moved = (level(made(**{change: 1.0})) - level(unchanged)).mean(1)
        across = moved.std(1).mean() / np.abs(moved).mean()
        assert (across < 0.1) == alike


def test_the_hum_lies_at_the_mains_and_its_harmonics(unchanged):
    added = made(mains=1.0) - unchanged
    power = np.square(np.abs(np.fft.rfft(added * np.hanning(SAMPLES)))).sum((0, 1))
    hz = np.arange(len(power)) * SAMPLE_RATE / SAMPLES
    near = np.min([np.abs(hz[:, None] - m * np.arange(1, 7)).min(1) for m in (50, 60)], axis=0) <= 6
    assert power[near].sum() > 0.99 * power.sum()


def test_a_neighbour_starts_and_then_stays_in_some_sessions(unchanged):
    added = np.abs(made(neighbours=1.0) - unchanged).max(-1) > 1e-6
    assert added.any() and not added.all()
    assert (np.diff(added.astype(int), axis=1) >= 0).all()


def test_speed_moves_the_lines_both_ways_by_no_more_than_its_extent(unchanged):
    """Ten times the usual extent, as half a second resolves no shift of one percent."""
    waves = made(speed=10.0)
    shifts = [shift(unchanged[0, 0], wave) for wave in waves[:, 0]]
    assert max(np.abs(shifts)) <= 0.11 and min(shifts) < -0.01 and max(shifts) > 0.01
    assert max(abs(shift(unchanged[0, 0], wave)) for wave in unchanged[1:, 0]) <= 0.004


def shift(was, now):
    """Relative shift in frequency at which the lines of two waveforms correlate most."""
    hz = np.arange(SAMPLES // 2 + 1) * SAMPLE_RATE / SAMPLES
    lines = []
    for wave in (was, now):
        log = np.log(np.abs(np.fft.rfft(wave * np.hanning(SAMPLES))) + 1e-9)
        lines.append(np.maximum(log - uniform_filter1d(log, 101), 0))
    place = np.geomspace(50, 4000, 4000)
    tried = np.linspace(-0.12, 0.12, 121)
    usual = np.interp(place, hz, lines[0])
    fits = [np.corrcoef(usual, np.interp(place * (1 + s), hz, lines[1]))[0, 1] for s in tried]
    return float(tried[np.argmax(fits)])
