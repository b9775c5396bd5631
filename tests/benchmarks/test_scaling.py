import jax
import pytest

from asd_jax.models.eat import EATConfig
from benchmarks.scaling import collectives, compiled_step, efficiency, state_bytes


def test_base_keeps_nine_tenths_of_eight_times_the_speed():
    plain, overlapped = efficiency(EATConfig.base(), 8)
    assert 0.9 < plain < overlapped < 1
    assert state_bytes(EATConfig.base(), 8) == state_bytes(EATConfig.base(), 1) / 8


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 0])
def test_compiled_programs_send_what_the_formulas_say(shards):
    with jax.default_device(None):
        program, count = compiled_step(shards, EATConfig(192, 1, 2))
    found, waves = collectives(program), 8 * 16000 * 4
    assert 4 * count <= found["all-reduce"][1] < 4.01 * count  # gradients, and a few sums
    gathered = waves if shards else waves + 4 * count
    assert abs(found["all-gather"][1] - gathered) < 0.02 * 4 * count  # but small arrays, and labels
