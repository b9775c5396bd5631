"""Claims about the bank and the threshold of normal sounds."""

import json

import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE

from asd_jax.detector import fitting
from asd_jax.detector.detector import Detector
from asd_jax.detector.self_check import self_check
from asd_jax.runtime.errors import InputError


def test_ten_clips_cannot_support_five_percent(normal):
    notes = "\n".join(map(str, Detector.fit(normal[:10], RATE, weights=None).notes))
    assert "10 normal sounds cannot support a false-alarm rate of 5 %" in notes
    with pytest.raises(InputError, match="at least 3"):
        Detector.fit(normal[:2], RATE, weights=None)


def test_coreset_keeps_fewer_vectors_and_hears_as_well(encoder_file, normal, tmp_path):
    small = Detector.fit(normal, RATE, weights=encoder_file, coreset_size=8)
    assert len(small.bank.vectors["encoder"]) == 8 and len(small.bank.vectors["level"]) == 24
    assert all(small.is_anomaly(wave) for wave in FAULTY) and len(small.bank.normal) == 24
    small.save(tmp_path / "a.detector")
    more = Detector.load(tmp_path / "a.detector").update(HEALTHY[:5])
    assert len(more.bank.vectors["encoder"]) == 13 and len(more.bank.normal) == 29


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
    assert one.bank.by_sessions == {"pooled": True} and len(set(one.bank.windows.session)) == 4
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
