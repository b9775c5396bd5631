"""Claims about the bank and the threshold of normal sounds."""

import dataclasses
import json
from unittest.mock import Mock

import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE

from asd_jax.detector import fitting
from asd_jax.detector.detector import Detector
from asd_jax.detector.fitting import above_threshold, few_sessions, threshold_of
from asd_jax.detector.notes import Kind
from asd_jax.detector.processing import Processed
from asd_jax.detector.recording_table import RecordingTable
from asd_jax.detector.self_check import self_check
from asd_jax.detector.views import FILTER_BANK, FROZEN
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.bank_fitting import Known
from asd_jax.scoring.normal_bank import NormalBank
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows
from asd_jax.scoring.standardization import SIMULATION_MARGIN


def test_ten_clips_cannot_support_five_percent(normal):
    notes = "\n".join(map(str, Detector.fit(normal[:10], RATE, weights=None).notes))
    assert "10 normal sounds cannot support a false-alarm rate of 5 %" in notes
    with pytest.raises(InputError, match="at least 3"):
        Detector.fit(normal[:2], RATE, weights=None)


def test_coreset_keeps_fewer_vectors_and_hears_as_well(encoder_file, normal, tmp_path):
    small = Detector.fit(normal, RATE, weights=encoder_file, coreset_size=8)
    assert len(small.bank.vectors["encoder"]) == 8 and len(small.bank.vectors["level"]) == 24
    assert all(small.is_anomaly(wave) for wave in FAULTY) and len(small.bank.normal) == 24
    assert small.reduced and small.bank.on_trial == ("encoder",)
    assert small.bank.reserved == ("rhythm",) and small.bank.rows["level"].tolist() == [*range(24)]
    small.save(tmp_path / "a.detector")
    more = Detector.load(tmp_path / "a.detector").update(HEALTHY[:5])
    assert len(more.bank.vectors["encoder"]) == 13 and len(more.bank.normal) == 29
    assert more.reduced


def test_recordings_an_encoder_was_trained_on_set_no_threshold(encoder_file, normal):
    one = Detector.fit(normal, RATE, weights=encoder_file, trained=np.arange(24) < 16)
    assert len(one.bank.normal) == 8 and len(one.bank.vectors["level"]) == 24


def test_one_session_is_said_to_be_too_few(plain):
    (note,) = [note for note in plain.notes if "another day" in note]
    assert "record ten minutes on" in note and plain.bank.by_sessions == {"pooled": False}
    check = self_check(plain)
    assert check.verdict == "usable, but" and json.dumps(check.as_json())
    assert check.sessions["hours"] == pytest.approx(24 * 2 / 3600) and check.floor_db < -20


def test_sessions_are_kept_in_the_file_and_by_update(normal, tmp_path):
    days = [f"day {n // 4}" for n in range(16)]
    one = Detector.fit(normal[:16], RATE, weights=None, sessions=days)
    assert one.bank.by_sessions == {"pooled": True} and one.bank.named and not one.reduced
    assert one.bank.windows.session.tolist() == [n // 4 for n in range(16)]
    assert not any("another day" in note for note in one.notes)
    one.save(tmp_path / "a.detector")
    again = Detector.load(tmp_path / "a.detector").update(normal[16:20], sessions=["day 9"] * 4)
    assert again.sessions == (*days, *["day 9"] * 4) and len(set(again.bank.windows.session)) == 5


def test_another_rate_needs_no_recordings(plain, normal, tmp_path):
    path = tmp_path / "a.detector"
    plain.save(path)
    changed = Detector.load(path).with_false_alarm_rate(0.2)
    again = Detector.fit(normal, RATE, weights=None, false_alarm_rate=0.2)
    assert changed.threshold == again.threshold < plain.threshold
    rare = changed.with_false_alarm_rate(0.01)
    assert "cannot support a false-alarm rate of 1 %" in "".join(map(str, rare.notes))
    assert "cannot support" not in "".join(map(str, rare.with_false_alarm_rate(0.2).notes))
    with pytest.raises(InputError, match="false_alarm_rate"):
        plain.with_false_alarm_rate(0.0)


@pytest.mark.parametrize(("share", "notes"), [(0.76, 0), (0.74, 1)])
def test_one_recording_sets_the_threshold_alone_if_it_falls_by_a_quarter_without_it(
    normal, monkeypatch, share, notes
):
    threshold_of = fitting.threshold_of

    def without_one(bank, settings, recordings, rows=None):
        threshold, weakness = threshold_of(bank, settings, recordings)
        return threshold * (1.0 if rows is None else share), weakness

    monkeypatch.setattr(fitting, "threshold_of", without_one)
    found = Detector.fit(normal[:12], RATE, weights=None).notes
    assert sum("alone sets the threshold" in str(note) for note in found) == notes


def bank_of(by_sessions, session=(0, 0, 1, 1)):
    """Returns a bank of four windows, which tells only what a threshold depends on."""
    windows = NormalWindows.of_recordings(np.arange(4))
    windows = dataclasses.replace(windows, session=np.array(session))
    bank = Mock(spec=NormalBank, by_sessions=by_sessions, windows=windows)
    bank.configure_mock(normal=np.arange(4.0), normal_session=np.array(session))
    return bank


def table(count=4, session="a"):
    return RecordingTable.of([f"{n}.wav" for n in range(count)], {"sessions": [session] * count})


@pytest.mark.parametrize(
    ("by_sessions", "session", "random_effects", "margin"),
    [
        ({"pooled": True}, "a", True, 1),
        ({"pooled": True}, "", False, 1),
        ({"pooled": False}, "a", False, SIMULATION_MARGIN),
        ({"source": True, "target": False}, "a", True, 1),
    ],
)
def test_a_threshold_without_recorded_sessions_has_a_margin(
    plain, monkeypatch, by_sessions, session, random_effects, margin
):
    asked = []

    def new_session_threshold(*given, **options):
        asked.append((*(of if isinstance(of, float) else of.tolist() for of in given), options))
        return 2.0, "weak"

    monkeypatch.setattr(fitting, "new_session_threshold", new_session_threshold)
    bank = bank_of(by_sessions)
    settings = plain.settings
    assert threshold_of(bank, settings, table(4, session)) == (2.0 * margin, "weak")
    threshold_of(bank, settings, table(4, session), np.array([True, False, True, True]))
    options = {"random_effects": random_effects}
    assert asked == [
        ([0, 1, 2, 3], [0, 0, 1, 1], 0.05, options),
        ([0, 2, 3], [0, 1, 1], 0.05, options),
    ]


def test_recordings_whose_median_is_above_the_threshold_so_far_are_counted():
    windows = NormalWindows.of_recordings(np.array([0, 0, 0, 1, 2, 3]))
    scores = np.array([1.0, 9.0, 1.5, 2.0, 2.1, 2.5])
    (note,) = above_threshold(scores, 2.0, windows, table())
    assert note.kind == Kind.THRESHOLD and note.startswith("2 of 4 recordings")
    assert "3.wav (2.50 of 2.00)" in note
    assert above_threshold(scores, 2.5, windows, table()) == []


def test_too_few_sessions_are_counted_and_what_to_record_is_said():
    assert few_sessions(bank_of({"source": True, "target": True}), True) == []
    (note,) = few_sessions(bank_of({"source": True, "target": False}), True)
    assert note.kind == Kind.SESSIONS
    assert note.startswith("2 sessions cannot") and "on 1 more days" in note
    (note,) = few_sessions(bank_of({"pooled": False}, (0, 0, 0, 0)), False)
    assert note.startswith("1 stretch of similar sound") and "on 2 more days" in note


def windows_of(count, **vectors):
    """Returns recordings of one window each."""
    windows = NormalWindows.of_recordings(np.arange(count))
    return Processed(windows, vectors, SimulatedWindows(), None)


@pytest.mark.parametrize(("size", "kept"), [(0, None), (1, 1), (23, 23), (24, None)])
def test_a_coreset_is_of_the_encoder_and_smaller_than_the_bank(size, kept):
    processed = windows_of(24, encoder=np.eye(24, dtype=np.float32))
    rows = fitting._rows({"level": FILTER_BANK, "encoder": FROZEN}, processed, size)
    assert (rows and len(rows["encoder"])) == kept
    assert rows is None or rows["level"].tolist() == list(range(24))
    assert fitting._rows({"level": FILTER_BANK}, processed, 5) is None


@pytest.mark.parametrize(
    ("count", "options", "found", "left_out"),
    [
        # At most one in six, or one if there are fewer, however many rounds it takes.
        (24, {}, [[23], [3, 5], [1, 2]], [23, 3, 5]),
        (24, {}, [[23], [3, 5], [1], []], [23, 3, 5, 1]),
        (12, {}, [[0], [0], [0]], [0, 1]),
        (5, {}, [[2], [2]], [2]),
        (24, {}, [[7, 9], []], [9]),  # 7 is of a rare domain
        (24, {"first_removable": 20}, [[20], []], [20]),
        (24, {"first_removable": None}, [[20]], []),
        (
            24,
            {"known": Known(SelfScores.none(0, 0, ()), SelfScores.none(0, 0, ()), {})},
            [[20]],
            [],
        ),
    ],
)
def test_outliers_are_left_out_until_there_are_none_or_too_many(
    plain, monkeypatch, count, options, found, left_out
):
    bank = bank_of({"pooled": True})
    rounds = iter(found)
    firsts = []

    def outliers(bank, first):
        firsts.append(first)
        return next(rounds)

    monkeypatch.setattr(fitting, "_bank", lambda *_: (bank, []))
    monkeypatch.setattr(fitting, "outlier_recordings", outliers)
    monkeypatch.setattr(
        fitting, "of_rare_domain", lambda domains, bank: {7} if count == 24 else set()
    )
    monkeypatch.setattr(fitting, "threshold_of", lambda *_: (2.0, ""))
    monkeypatch.setattr(fitting, "most_anomalous", lambda bank: None)
    level = np.arange(4.0)[None] * np.where(np.arange(count) % 2, 0.0011, 0.0009)[:, None] / 3
    processed = windows_of(count, level=level)
    fitted = fitting.fit_bank(
        {"level": FILTER_BANK}, plain.settings, processed, table(count), **options
    )
    notes = [note for note in fitted.notes if note.kind == Kind.LEFT_OUT]
    said = [f"{n}.wav" + ("" if n % 2 else " (silence)") for n in left_out]
    assert [note.partition(": ")[2] for note in notes] == said
    kept = [f"{n}.wav" for n in range(count) if n not in left_out]
    assert list(fitted.recordings.names) == kept and len(fitted.processed.windows) == len(kept)
    assert fitted.bank is bank and fitted.threshold == 2.0
    assert fitted.reduced == ("known" in options) and set(firsts) <= {
        options.get("first_removable", 0)
    }
