import numpy as np
import pytest

from asd_jax.data.machines import CYCLIC, GRADES, MACHINES, SAMPLE_RATE, TIMING_GRADES


@pytest.mark.parametrize("name", [*MACHINES, *CYCLIC])
def test_domains_differ_and_all_resonances_lie_below_half_the_rate(name):
    machine = (MACHINES | CYCLIC)[name]
    for values in (machine.speeds, machine.loads):
        assert not set(values["source"]) & set(values["target"])
    assert all(0 < hz < SAMPLE_RATE / 2 and q > 0 for hz, q, _ in machine.resonances)
    assert all(0 <= phase < 1 for phase, _ in machine.impacts)


@pytest.mark.parametrize("name", [*MACHINES, *CYCLIC])
def test_the_envelope_of_the_noise_repeats_every_cycle(name):
    gate = (MACHINES | CYCLIC)[name].gate
    turns = np.linspace(0.01, 0.99, 500)
    assert gate(turns).min() >= 0 and gate(turns).max() > 0.5
    np.testing.assert_allclose(gate(turns + 3), gate(turns), atol=1e-9)


def test_strong_faults_have_no_smaller_extent_than_subtle_ones():
    assert all(subtle <= strong for subtle, strong in (GRADES | TIMING_GRADES).values())
