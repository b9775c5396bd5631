import dataclasses

import numpy as np
import pytest
from detectors import FAULTY
from machine_sound import RATE

from asd_jax.detector.detector import Detector
from asd_jax.detector.notes import Kind
from asd_jax.detector.self_check import filter_levels, self_check
from asd_jax.detector.views import views

DAYS = [f"day {n // 8}" for n in range(24)]


def fit(waves, **options):
    return Detector.fit(waves, RATE, weights=None, **options)


@pytest.fixture(scope="module")
def three_days(normal):
    return fit(normal, sessions=DAYS)


def test_three_days_are_enough_and_the_json_says_so(three_days):
    found = self_check(three_days).as_json()
    assert found["verdict"] == "enough" and not found["why"] and not found["clipped"]
    assert found["sessions"]["count"] == 3 and found["sessions"]["known"]


def test_one_long_recording_is_usable_as_one_session(normal):
    found = self_check(fit([np.concatenate(normal)], window_seconds=2.0))
    assert found.verdict == "usable, but" and found.sessions["count"] == 1
    assert "one session: 1 recording, cut into 24 windows" in found.why
    assert "record on three days or more" in found.why
    assert any(line.startswith("1 session, 0.8 minutes") for line in found.lines())
    assert "not enough" not in "\n".join(found.lines())


def test_too_few_windows_are_not_enough(normal):
    found = self_check(fit([np.concatenate(normal[:10])], window_seconds=2.0))
    assert found.verdict == "not enough"
    assert "10 windows of 1 recording; record at least 19" in found.why


@pytest.mark.parametrize("level_db", [-40.0, -70.0])
def test_the_noise_floor_is_that_of_white_noise(level_db, three_days):
    """The mean of a logarithm lies up to 2.5 dB below the logarithm of a mean."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10 ** (level_db / 20), (1, 2 * RATE)).astype(np.float32)
    level = views(None, noise)[0]["level"]
    bank = dataclasses.replace(three_days.bank, vectors={"level": level})
    found = filter_levels(dataclasses.replace(three_days, bank=bank))
    assert level_db - 3.5 < found.min() < level_db < found.max() + 2.5
    assert abs(np.median(found) - level_db) < 2.5


def test_clipped_recordings_are_named_and_the_file_keeps_it(normal, tmp_path):
    loud = [(20 * wave).clip(-1, 1) if n in (3, 7) else wave for n, wave in enumerate(normal)]
    one = fit(loud, sessions=DAYS, names=[f"{n}.wav" for n in range(24)], keep_odd=True)
    (note,) = [note for note in one.notes if note.kind == Kind.CLIPPED_RECORDINGS]
    assert note == "3.wav, 7.wav: clipped: turn the input level down, and record again"
    one.save(tmp_path / "a.detector")
    found = self_check(Detector.load(tmp_path / "a.detector"))
    assert found.clipped and found.verdict == "usable, but" and "clipped" in found.why
    assert found.as_json()["clipped"] is True


def test_sound_in_the_rounding_of_samples_is_called_too_quiet(normal):
    step = np.float32(2.0**-15)
    quiet = [np.round(wave * 3e-4 / step) * step for wave in normal]
    found = self_check(fit(quiet, sessions=DAYS))
    assert found.verdict == "usable, but" and "turn the input level up" in found.why
    assert -106 < found.floor_db < -85


def test_self_check_finds_the_odd_one_and_the_copies(normal):
    recordings = [*normal, FAULTY[0], normal[3] * np.float32(1.0001)]
    check = self_check(Detector.fit(recordings, RATE, weights=None))
    assert check.copies == [("recording 3", "recording 25")]
    said = "\n".join(check.lines())
    assert (
        "left out, as it is far from all others: recording 24" in said
        and "near-duplicates, which count as one: recording 3 and" in said
    )
    clean = self_check(Detector.fit(normal, RATE, weights=None))
    assert not clean.suspects and not clean.copies
