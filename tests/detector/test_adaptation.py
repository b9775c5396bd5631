import dataclasses

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.data.simulated_session import COLOUR_DB, coloured, simulated_session, smooth_colours
from asd_jax.detector import adaptation
from asd_jax.detector.adaptation import Adaptation, Settling, _least_absolute, adapted
from asd_jax.detector.detector import Detector
from asd_jax.runtime.errors import InputError


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
    # Adapted again, it starts from the normal sounds, and not from the last session.
    once_more = adapted(found.detector, [elsewhere(sound(600 + n)) for n in range(6)])
    assert once_more.colour == found.colour == tuple(round(value, 4) for value in found.colour)
    assert (once_more.before, once_more.after) == (found.before, found.after)
    # The adapted score may reach half of the way from the usual score to the threshold.
    usual = np.median(days.bank.normal)
    limit = usual + 2 * (found.after - usual)
    for threshold, settled in ((limit + 0.01, True), (limit - 0.01, False)):
        moved = dataclasses.replace(days, threshold=float(threshold))
        assert adapted(moved, [elsewhere(sound(600 + n)) for n in range(6)]).settled == settled
    with pytest.raises(InputError, match="no sound to adapt to"):
        adapted(days, [])


def test_a_fault_that_is_there_already_is_reported_not_learnt(plain):
    faulty = [sound(600 + n, fault=0.05) for n in range(6)]
    found = adapted(plain, faulty)
    assert not found.settled and "not adapted: the sound stays anomalous" in found.message()
    assert found.detector.score(faulty[0]) == plain.score(faulty[0])  # absorbed: nothing


def test_a_change_beyond_that_of_microphones_is_not_learnt(days):
    found = adapted(days, [elsewhere(sound(600 + n), (9.0, 0.0, 0.0, 0.0)) for n in range(6)])
    assert not found.settled and found.colour[0] == COLOUR_DB[0] and not found.detector.colour
    assert "more than another place of the microphone" in found.message()


def like(plain, **changes):
    detector = dataclasses.replace(plain, threshold=2.0)
    one = Adaptation(detector, True, (3.0, 1.5, -2.0, 0.0), before=2.0, after=1.0)
    return dataclasses.replace(one, **changes)


@pytest.mark.parametrize(
    ("changes", "begins", "holds"),
    [
        ({}, "adapted", ["level +3.0 dB", "up to 2.0 dB", "2.00 before, 1.00 after"]),
        ({"before": 2.01}, "adapted", ["threshold of 2.00", "make sure"]),
        ({"settled": False, "before": 9.0}, "not adapted: the sound stays", ["level +3.0 dB"]),
        ({"settled": False, "colour": (4.4, 2.9, 0.0, 0.0)}, "not adapted: the sound stays", []),
        ({"settled": False, "colour": (4.5, 0.0, 0.0, 0.0)}, "not adapted: the sound differs", []),
        ({"settled": False, "colour": (0.0, 0.0, 0.0, -3.0)}, "not adapted: the sound differs", []),
    ],
)
def test_an_adaptation_says_what_was_corrected_or_why_not(plain, changes, begins, holds):
    message = like(plain, **changes).message()
    assert message.startswith(begins) and all(words in message for words in holds)
    assert ("make sure" in message) == (changes.get("before") == 2.01)


def test_absolute_errors_follow_most_values_and_no_outlier():
    shapes = np.stack([np.ones(40), np.linspace(-1, 1, 40)])
    values = np.array([2.0, -3.0]) @ shapes
    values[::9] += 50
    np.testing.assert_allclose(_least_absolute(shapes, values), [2.0, -3.0], atol=1e-4)


@pytest.mark.parametrize(
    ("minutes", "windows"), [(0.0, 0), (0.001, 1), (0.1, 3), (0.116, 3), (0.118, 4)]
)
def test_a_watch_adapts_once_after_its_first_minutes(days, monkeypatch, minutes, windows):
    given = []

    def found(detector, waves):
        given.append(len(waves))
        return Adaptation(detector, False, (0.0,) * 4, 0.0, 0.0)

    monkeypatch.setattr(adaptation, "adapted_to_windows", found)
    monkeypatch.setattr(Settling, "_score", lambda self, wave: 1.0)
    settling = Settling(days, RATE, minutes)
    for n in range(8):
        assert settling(np.zeros(32000, np.float32)) == 1.0
        assert (settling.news is not None) == (0 < windows <= n + 1)
    assert given == [windows] * (windows > 0)
    if windows:
        assert settling.news["event"] == "not_settled" and settling.news["colour_db"] == [0.0] * 4
        assert settling.news["message"].startswith("not adapted")


def test_a_watch_settles_in_its_first_minutes(days):
    settling = Settling(days, RATE, 0.1)
    settling.compile(32000)
    moved = (4.4, 2.8, 0.0, 0.0)
    scores = [settling(elsewhere(sound(600 + n), moved)) for n in range(3)]
    assert settling.news["event"] == "settled" and settling.detector.colour
    assert settling.news["colour_db"] == list(settling.detector.colour)
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


def test_the_nearest_normal_sounds_are_found_by_the_fine_structure_of_their_spectra(days):
    """Half of the normal sounds are as loud as the new session, but have lines that it has not."""
    level = days.bank.vectors["level"].copy()
    level[12:] += 3 * np.log(10) / 10
    level[12:, [30, 60, 90]] += 2
    bank = dataclasses.replace(days.bank, vectors=days.bank.vectors | {"level": level})
    louder = [elsewhere(sound(600 + n), (3.0, 0.0, 0.0, 0.0)) for n in range(3)]
    colour = adapted(dataclasses.replace(days, bank=bank), louder).colour
    np.testing.assert_allclose(colour, (3.0, 0.0, 0.0, 0.0), atol=0.3)


def test_the_colour_of_a_session_is_taken_out_of_its_windows(days):
    colour = (3.0, 1.5, -1.0, 0.5)
    waves = np.stack([sound(600), sound(601)])
    there = np.stack([elsewhere(wave, colour) for wave in waves])
    found = dataclasses.replace(days, colour=colour).as_fitted(there)
    np.testing.assert_allclose(found, waves, atol=1e-6)
    assert days.as_fitted(there) is there
