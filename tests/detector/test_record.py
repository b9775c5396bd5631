"""Claims about what a watch keeps in a store."""

import json

import numpy as np
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector import record as module
from asd_jax.detector.record import Record
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_bytes import watch_bytes
from asd_jax.detector.watch_folder import watch_folder
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.monitoring.alarms import Alarm, Moment
from asd_jax.monitoring.cases import Occurrence, cases
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.store import Store

NOW = 1.8e9


def watch(detector, store, **options):
    watching = WatchSettings(RATE, 2.0, 2.0, detector.threshold, 0.9 * detector.threshold, 1, 2.0)
    record = Record(store, "pump", detector, RATE, **options)
    return Watch(watching, lambda wave: detector.score(wave, RATE), record=record)


def test_a_window_of_a_live_stream_ends_now_and_one_of_a_recording_has_its_time(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(module.clock, "time", lambda: NOW)
    with Store(tmp_path / "plant.db") as store:
        quiet = QuietHours(5, 9)
        live = Record(store, "pump", plain, RATE, quiet=quiet)
        assert live.time(60.0, 2.0) == NOW - 2 and live.recorder.quiet == quiet
        assert Record(store, "pump", plain, RATE, began=NOW).time(60.0, 2.0) == NOW + 60


def test_a_case_dates_from_the_first_window_that_counted_and_ends_with_the_last(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(Record, "_keep_evidence", lambda *_: ("differs", "folder"))
    wave = sound(100)
    alarm = Alarm(2.0, 1.0, confirm=2, hold_seconds=0.5)
    with Store(tmp_path / "plant.db") as store:
        record = Record(store, "pump", plain, RATE)
        for n, score in enumerate((3.0, 4.0, 0.0)):
            change = alarm.feed(Moment(n + 5.0), Moment(n + 7.0), score)
            list(record.window(NOW + n, wave, alarm, score, change))
        (case,) = cases(store)
        series = store.readings("pump")
        announced = [e["time"] for e in store.events() if e["event"] == "alarm_announced"]
    occurrence = Occurrence(NOW, 4.0, 2.0, "differs", "folder", ended=NOW + 4)
    assert case.occurrences == (occurrence,) and case.cleared == NOW + 4
    assert series.score.tolist() == [3.0, 4.0, 0.0] and set(series.threshold) == {2.0}
    # It is announced when the window that raised it ends.
    assert announced == [NOW + 3] and series.seconds.tolist() == [2.0] * 3


def test_an_open_case_whose_alarm_is_over_is_not_taken_up(plain, tmp_path):
    with Store(tmp_path / "plant.db") as store:
        record = Record(store, "pump", plain, RATE)
        untouched = Alarm(2.0, 1.0)
        record.resume(untouched)
        record.recorder.raised(Occurrence(NOW, 7.0, 2.0))
        taken_up = Alarm(2.0, 1.0)
        record.resume(taken_up)
        assert taken_up.active and taken_up.peak == 7.0
        assert taken_up.started == taken_up.ended == Moment(0.0)
        record.recorder.cleared(NOW + 5, 7.0)
        record.resume(untouched)
        assert not untouched.active


def test_evidence_lies_in_a_folder_of_the_machine_of_which_200_are_kept(
    plain, tmp_path, monkeypatch
):
    calls = []
    monkeypatch.setattr(module, "remove_older", lambda *given: calls.append(given))
    monkeypatch.setattr(Record, "_write", lambda self, folder, *_: calls.append(folder))
    with Store(tmp_path / "plant.db") as store:
        record = Record(store, "pump 3/ä", plain, RATE)
        message, folder = record._keep_evidence(NOW, sound(101, fault=0.1))
    written, removed = calls
    machine = tmp_path / "plant.db.evidence" / "pump_3_"
    assert removed == (machine, 200) and written.parent == machine and folder == str(written)
    assert "differs most in its" in message


def chunks(*waves):
    return [((np.concatenate(waves) * 32767).astype("<i2").tobytes(), None)]


def test_a_watch_keeps_readings_the_case_and_its_evidence(plain, tmp_path):
    waves = [sound(100), sound(101, fault=0.1), sound(102), sound(103)]
    with Store(tmp_path / "plant.db") as store:
        lines = list(
            watch_bytes(watch(plain, store, began=NOW), chunks(*waves), Decoder(SampleFormat()))
        )
        series = store.readings("pump")
        (case,) = cases(store)
    assert series.time.tolist() == [NOW, NOW + 2, NOW + 4, NOW + 6]
    assert series.score.argmax() == 1 and np.isfinite(series.bands).all()
    (occurrence,) = case.occurrences
    assert (occurrence.started, occurrence.ended) == (NOW + 2, NOW + 6) and case.cleared
    assert "differs most in its" in occurrence.message and "kHz" in occurrence.message
    assert [line["case"] for line in lines if line.get("event") == "alarm"] == [1]
    folder = tmp_path / "plant.db.evidence" / "pump"
    (kept,) = folder.iterdir()
    assert str(kept) == occurrence.evidence
    wave, rate = soundfile.read(kept / "sound.wav")
    assert rate == RATE and len(wave) == 2 * RATE
    assert json.loads((kept / "verdict.json").read_text())["score"] > plain.threshold
    page = (kept / "page.html").read_text()
    assert "<svg" in page and f"<h1>pump, alarm of {kept.name}: 1 of 1 anomalous</h1>" in page


def test_an_alarm_that_was_on_is_taken_up_after_a_restart(plain, tmp_path):
    with Store(tmp_path / "plant.db") as store:
        faulty = sound(101, fault=0.1)
        normal = sound(102)
        list(watch_bytes(watch(plain, store, began=NOW), chunks(faulty), Decoder(SampleFormat())))
        assert cases(store)[0].cleared is None
        later = watch(plain, store, began=NOW + 60)
        assert later.alarm.active
        list(watch_bytes(later, chunks(normal, normal), Decoder(SampleFormat())))
        (case,) = cases(store)
    assert case.cleared is not None and len(case.occurrences) == 1


def test_files_of_a_folder_have_the_time_at_which_they_were_recorded(plain, tmp_path):
    import os

    (tmp_path / "in").mkdir()
    for number, time in ((0, NOW + 2), (1, NOW + 3600)):
        path = tmp_path / "in" / f"{number}.wav"
        soundfile.write(path, sound(100 + number), RATE)
        os.utime(path, (time, time))
    with Store(tmp_path / "plant.db") as store:
        list(watch_folder(watch(plain, store), tmp_path / "in", once=True))
        np.testing.assert_allclose(store.readings("pump").time, [NOW, NOW + 3598], atol=0.01)
        # A watch that is started again scores what is new, and says so.
        os.utime(tmp_path / "in" / "1.wav", (NOW + 9000, NOW + 9000))
        first, *lines = watch_folder(watch(plain, store), tmp_path / "in", once=True)
        assert first["event"] == "read_before" and first["message"].startswith("1 recordings")
        assert [line["file"] for line in lines if "window" in line] == ["1.wav"]


def test_evidence_that_cannot_be_written_does_not_end_the_watch(plain, tmp_path):
    (tmp_path / "plant.db.evidence").write_text("a file where a folder should be")
    with Store(tmp_path / "plant.db") as store:
        faulty = chunks(sound(101, fault=0.1))
        list(watch_bytes(watch(plain, store, began=NOW), faulty, Decoder(SampleFormat())))
        (case,) = cases(store)
    assert case.occurrences[0].evidence == "" and "no evidence" in case.occurrences[0].message
