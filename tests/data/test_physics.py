import numpy as np
import pytest

from asd_jax.data import physics
from asd_jax.data.machines import MACHINES, TIMING_FAULTS
from asd_jax.data.synthesis import factory_clip


def test_bearing_strikes_at_a_ball_pass_frequency():
    """The squared envelope of the fault has its strongest line, above the shaft's, at BPFO or
    BPFI.
    """
    machine = MACHINES["gearbox"]
    balls, geometry = machine.bearing
    for seed in range(6):
        clip = factory_clip("gearbox", fault_kind="bearing", seed=seed, clip_seconds=4.0)
        envelope = np.abs(np.fft.rfft(clip.fault.astype(float) ** 2))
        hz = np.fft.rfftfreq(len(clip.fault), 1 / 16000)
        band = (hz > 4 * clip.speed / 60) & (hz < 250)
        order = hz[band][np.argmax(envelope[band])] / (clip.speed / 60)
        expected = [balls / 2 * (1 - geometry), balls / 2 * (1 + geometry)]
        # 1.2 % of speed drift and the slip of the intervals; an inner race has sidebands one order
        # away.
        assert min(abs(order / rate - 1) for rate in expected) < 0.025, (order, expected)


def test_speed_moves_the_harmonics_and_load_does_not():
    def blade_passing_hz(**attributes):
        clip = factory_clip("fan", seed=4, clip_seconds=4.0, **attributes)
        power = np.abs(np.fft.rfft(clip.machine_stem.astype(float)))
        hz = np.fft.rfftfreq(len(clip.machine_stem), 1 / 16000)
        band = (hz > 320) & (hz < 500)
        return hz[band][np.argmax(power[band])]

    slow, loaded, fast = (
        blade_passing_hz(speed=s, load=n) for s, n in ((2400, 1), (2400, 2), (3000, 1))
    )
    assert slow == pytest.approx(9 * 2400 / 60, rel=0.015)  # speed drifts by 1.2 % at most
    assert loaded == pytest.approx(slow, rel=0.005)
    assert fast / slow == pytest.approx(3000 / 2400, rel=0.005)


@pytest.mark.parametrize("kind", TIMING_FAULTS)
def test_a_fault_of_timing_keeps_the_sound_of_a_beat_and_changes_when_it_comes(kind):
    healthy = factory_clip("press", clip_seconds=4, seed=3)
    clip = factory_clip("press", fault_kind=kind, grade=1, clip_seconds=4, seed=3)
    faulty = clip.machine_stem + clip.fault
    np.testing.assert_array_equal(clip.machine_stem, healthy.machine_stem)
    power = np.mean(np.square(faulty))
    was = np.mean(np.square(healthy.machine_stem))
    # Missing beats take power away; the other faults only move it. Measured: 0.02 dB and less.
    change = 10 * np.log10(power / was)
    assert change < -1 if kind == "missing_beat" else abs(change) < 1.0
    assert np.abs(faulty).max() == pytest.approx(np.abs(healthy.machine_stem).max(), rel=0.3)
    assert np.square(clip.fault).sum() > 0.1 * np.square(healthy.machine_stem).sum()


def test_irregular_cycles_keep_their_number_and_missing_ones_are_silent():
    rng = np.random.default_rng(0)
    cycle = np.linspace(0.3, 20.3, 4000)
    turns, _ = physics.timing_fault("irregular", 1.0, rng)(cycle)
    assert (np.diff(turns) > 0).all() and np.floor(turns[-1]) == pytest.approx(20, abs=1)
    starts = cycle[np.flatnonzero(np.diff(np.floor(turns)))]
    assert 0.2 < np.diff(starts).std() < 0.6  # the grade says 0.4
    _, active = physics.timing_fault("missing_beat", 0.0, rng)(cycle)
    assert 0 < (active == 0).mean() < 0.3
    turns, _ = physics.timing_fault("reversed", 0.5, rng)(cycle)
    np.testing.assert_array_equal(turns, -cycle)
