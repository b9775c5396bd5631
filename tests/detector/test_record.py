"""Claims about what a watch keeps in a store."""

import json

import numpy as np
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector.record import Record
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_bytes import watch_bytes
from asd_jax.detector.watch_folder import watch_folder
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.monitoring.cases import cases
from asd_jax.monitoring.store import Store

NOW = 1.8e9


def watch(detector, store, **options):
    watching = WatchSettings(RATE, 2.0, 2.0, detector.threshold, 0.9 * detector.threshold, 1, 2.0)
    record = Record(store, "pump", detector, RATE, **options)
    return Watch(watching, lambda wave: detector.score(wave, RATE), record=record)


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
