import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.simulated_session import simulated_session


def test_a_simulated_session_is_the_same_for_the_same_sound():
    wave = sound(1)
    assert np.array_equal(simulated_session(wave, RATE), simulated_session(wave.copy(), RATE))
    assert not np.allclose(simulated_session(wave, RATE), simulated_session(sound(2), RATE))
    assert (
        simulated_session(wave, RATE) == pytest.approx(simulated_session(wave, RATE))
        and len(wave) == 32000
    )
