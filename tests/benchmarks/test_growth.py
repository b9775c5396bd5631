"""How time and memory grow."""

import time

import numpy as np
import pytest

from benchmarks.growth import STEPS, archive, growth


def test_a_quadratic_step_has_the_exponent_2(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])

    def prepare(size):
        def step():
            clock[0] += size**2
            return np.zeros(size)

        return step

    found = growth(prepare, (1000, 2000, 4000))
    assert found["exponent"] == 2
    assert found["peak_bytes"][4000] == pytest.approx(32_000, rel=0.1)


@pytest.mark.parametrize("name", STEPS)
def test_every_step_runs_at_a_small_size(name):
    prepare, _ = STEPS[name]
    prepare(60)()


@pytest.mark.slow
def test_an_archive_is_evaluated_and_scored_in_files():
    found = archive(8000)
    assert set(found) == {"evaluate", "detect"}
    # The clips themselves are listed in memory, their vectors of 128 bytes and more are not.
    peak = found["evaluate"]["peak_bytes"]
    assert peak[8000] < 2 * peak[2000]
