import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.simulated_session import COLOUR_DB, coloured, simulated_session, smooth_colours
from asd_jax.detector.adaptation import Settling, adapted
from asd_jax.detector.detector import Detector


def elsewhere(wave, decibels=(3.0, 1.5, 0.0, 0.0)):
    """The same sound by a microphone at another place."""
    return coloured(wave, np.array(decibels) @ smooth_colours(np.fft.rfftfreq(len(wave), 1 / RATE)))


@pytest.fixture(scope="module")
def days(normal):
    """Four days on which the microphone did not move."""
    return Detector.fit(normal, RATE, weights=None, sessions=[f"{n % 4}" for n in range(24)])


def test_level_and_colour_of_a_session_are_taken_out(days, tmp_path):
    found = adapted(days, [elsewhere(sound(600 + n)) for n in range(6)])
    assert found.settled and found.after < found.before
    np.testing.assert_allclose(found.colour, (3.0, 1.5, 0.0, 0.0), atol=0.12)  # measured 0.06
    healthy = elsewhere(sound(700))
    assert abs(found.detector.score(healthy) - days.score(sound(700))) < 0.5 * days.score(healthy)
    found.detector.save(tmp_path / "a.detector")
    again = Detector.load(tmp_path / "a.detector")
    assert again.score(healthy) == found.detector.score(healthy)


def test_a_fault_that_is_there_already_is_reported_not_learnt(plain):
    faulty = [sound(600 + n, fault=0.05) for n in range(6)]
    found = adapted(plain, faulty)
    assert not found.settled and "not adapted: the sound stays anomalous" in found.message()
    assert found.detector.score(faulty[0]) == plain.score(faulty[0])  # absorbed: nothing


def test_a_change_beyond_that_of_microphones_is_not_learnt(days):
    found = adapted(days, [elsewhere(sound(600 + n), (9.0, 0.0, 0.0, 0.0)) for n in range(6)])
    assert not found.settled and found.colour[0] == COLOUR_DB[0] and not found.detector.colour
    assert "more than another place of the microphone" in found.message()


def test_a_watch_settles_in_its_first_minutes(days):
    settling = Settling(days, RATE, 0.1)
    moved = (4.4, 2.8, 0.0, 0.0)
    scores = [settling(elsewhere(sound(600 + n), moved)) for n in range(3)]
    assert settling.news["event"] == "settled" and settling.detector.colour
    after = [settling(elsewhere(sound(700 + n), moved)) for n in range(3)]
    assert np.median(after) < 0.5 * np.median(scores)


def test_a_simulated_session_is_the_same_for_the_same_sound():
    wave = sound(1)
    assert np.array_equal(simulated_session(wave, RATE), simulated_session(wave.copy(), RATE))
    assert not np.allclose(simulated_session(wave, RATE), simulated_session(sound(2), RATE))
    assert (
        simulated_session(wave, RATE) == pytest.approx(simulated_session(wave, RATE))
        and len(wave) == 32000
    )
