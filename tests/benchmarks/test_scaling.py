from asd_jax.models.eat import EATConfig
from benchmarks.scaling import efficiency, state_bytes


def test_base_keeps_nine_tenths_of_eight_times_the_speed():
    plain, overlapped = efficiency(EATConfig.base(), 8)
    assert 0.9 < plain < overlapped < 1
    assert state_bytes(EATConfig.base(), 8) == state_bytes(EATConfig.base(), 1) / 8
