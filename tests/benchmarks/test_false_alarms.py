import itertools
import json

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

import benchmarks.false_alarms
from asd_jax.detector.detector import Detector
from asd_jax.runtime.errors import InputError
from benchmarks.false_alarms import ALIKE, BY_SESSIONS, Features, _drawn, interval, scores_of
from benchmarks.sessions import Machine, Sounds, machines

DAYS = 4
CLIPS = 4


@pytest.fixture(scope="module")
def sounds():
    days = {f"day {d}": [sound(10 * d + n) for n in range(CLIPS)] for d in range(DAYS)}
    return Sounds(days, [sound(100 + n, fault=0.3) for n in range(3)])


@pytest.fixture(scope="module")
def features(sounds):
    return Features.of(Machine("hum", tuple(sounds.normal), lambda: sounds))


@pytest.mark.parametrize("drawn", [BY_SESSIONS, ALIKE])
def test_a_fit_to_stored_features_is_that_of_a_detector(features, sounds, drawn):
    recordings = np.sort(_drawn(features.sessions, 3, drawn, 0))
    every = [wave for of in sounds.normal.values() for wave in of]
    named = drawn == BY_SESSIONS
    sessions = features.sessions[recordings].tolist() if named else None
    waves = [every[n] for n in recordings]
    detector = Detector.fit(waves, RATE, weights=None, sessions=sessions)
    bank = features.fitted(recordings, named=named)
    assert bank.threshold == pytest.approx(detector.threshold, rel=1e-4)
    expected = [verdict.score for verdict in detector.examine_all(sounds.faults)]
    np.testing.assert_allclose(scores_of(bank, features.faults), expected, rtol=1e-4)


def test_whole_sessions_are_drawn_or_as_many_clips_of_all(features):
    chosen = _drawn(features.sessions, 2, BY_SESSIONS, 1)
    assert len(chosen) == 8 and len(set(features.sessions[chosen])) == 2
    alike = _drawn(features.sessions, 2, ALIKE, 1)
    assert len(set(alike)) == 8 and len(set(features.sessions[alike])) > 2


def test_an_interval_holds_the_mean_and_narrows_with_repetitions():
    values = np.random.default_rng(0).uniform(size=100)
    few = interval(values[:10])
    many = interval(values)
    assert few["low"] < few["mean"] < few["high"]
    assert many["high"] - many["low"] < 0.6 * (few["high"] - few["low"])


@pytest.mark.slow
def test_the_table_of_a_folder_is_continued_and_complete(tmp_path, command, sounds):
    for (name, waves), (n, _) in itertools.product(sounds.normal.items(), enumerate(range(CLIPS))):
        place = tmp_path / "root" / "hum" / "normal" / name
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{n}.wav", waves[n], RATE)
    (tmp_path / "root" / "hum" / "faults").mkdir()
    soundfile.write(tmp_path / "root" / "hum" / "faults" / "a.wav", sounds.faults[0], RATE)
    output = tmp_path / "out"
    arguments = [f"--root={tmp_path / 'root'}", f"--output={output}", "--repetitions=2"]
    assert command(benchmarks.false_alarms, *arguments)[0] == 0
    first = json.loads((output / "false_alarms.json").read_text())
    assert {row["fitted"] for row in first["summary"]} == {1, 2, 3}
    assert len(first["summary"]) == 2 * 3 * 2
    assert all(0 <= row["false_alarms"]["mean"] <= 1 for row in first["summary"])
    assert "| 3, clips of all sessions alike |" in (output / "false_alarms.md").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("machines/hum/*.json")}
    assert len(stamps) == 6 and command(benchmarks.false_alarms, *arguments)[0] == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert json.loads((output / "false_alarms.json").read_text()) == first


def test_a_root_without_sessions_is_refused(tmp_path):
    (tmp_path / "fan" / "normal" / "only").mkdir(parents=True)
    with pytest.raises(InputError, match="two sessions"):
        list(machines(str(tmp_path)))
    with pytest.raises(InputError, match="no such folder"):
        list(machines(str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="pumpe: there are fan"):
        list(machines(None, ["pumpe"]))
