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


def test_an_archive_is_scored_machine_by_machine():
    found = archive(2000)
    assert 0.4 < found["official_score"] < 0.6 and found["peak_bytes"] > 0
