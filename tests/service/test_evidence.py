"""Claims about the thread that writes evidence."""

import json
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import MACHINE, until

from asd_jax.detector.evidence import write_window
from asd_jax.monitoring.cases import Occurrence, raise_case
from asd_jax.monitoring.store import Store
from asd_jax.service import evidence as keeper
from asd_jax.service.evidence import EvidenceKeeper
from asd_jax.service.watcher import Watcher


@pytest.fixture(scope="module")
def fault(plain_detector):
    wave = sound(20, 1.0, fault=0.3)
    return plain_detector, wave, RATE, plain_detector.examine(wave, RATE)


@pytest.fixture
def running():
    """Returns a function that starts a keeper's thread, which ends with the test."""
    stop = threading.Event()
    threads = []

    def running(kept):
        thread = threading.Thread(target=kept.run, args=(stop,), daemon=True)
        threads.append(thread)
        thread.start()

    yield running
    stop.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_evidence_is_that_of_its_window_and_comes_in_order(fault, tmp_path, running):
    detector, wave, rate, verdict = fault
    kept = EvidenceKeeper(tmp_path)
    first = kept.folder("pump", 1.7e9)
    assert first == tmp_path / "pump" / "20231114T221320.000000Z"
    second = kept.folder("pump", 1.7e9 + 1)
    kept.keep(first, detector, wave, rate, verdict)
    kept.keep(second, detector, 0.5 * wave, rate, verdict)
    running(kept)
    until(lambda: (second / "heat_map.svg").exists(), 20)
    names = {"sound.wav", "heat_map.svg", "verdict.json"}
    assert {path.name for path in first.iterdir()} == names
    written, written_rate = soundfile.read(first / "sound.wav", dtype="float32")
    assert written_rate == RATE and np.abs(written - wave).max() <= 1 / 32768


def test_evidence_beyond_the_room_in_memory_is_told_and_holds_nobody_up(fault, tmp_path, capsys):
    kept = EvidenceKeeper(tmp_path)
    for number in range(32):
        kept.keep(tmp_path / str(number), *fault)
    assert capsys.readouterr().err == ""
    thread = threading.Thread(target=kept.keep, args=(tmp_path / "one more", *fault), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert "one more: not written, as 32 others wait" in capsys.readouterr().err


def test_evidence_that_a_disk_refuses_is_written_later(
    fault, tmp_path, monkeypatch, capsys, running
):
    monkeypatch.setattr(keeper, "_RETRY_SECONDS", 0.05)
    kept = EvidenceKeeper(tmp_path / "evidence")
    (tmp_path / "evidence").write_text("in the way of the folder")
    running(kept)
    folder = kept.folder("pump", 1.7e9)
    kept.keep(folder, *fault)
    time.sleep(0.2)
    (tmp_path / "evidence").unlink()
    until(lambda: (folder / "heat_map.svg").exists(), 20)
    # Each attempt says why it failed, and there is a wait between two of them.
    attempts = capsys.readouterr().err.splitlines()
    assert 1 <= len(attempts) <= 20 and all("evidence" in line for line in attempts)


def test_a_disk_that_stays_full_does_not_hold_up_the_end(fault, tmp_path, capsys, running):
    (tmp_path / "file").write_text("no folder")
    kept = EvidenceKeeper(tmp_path / "file")
    kept.keep(kept.folder("pump", 1.7e9), *fault)
    running(kept)
    until(lambda: "file" in capsys.readouterr().err, 5)


def test_evidence_that_a_killed_service_left_without_a_picture_gets_one(fault, tmp_path, running):
    detector, wave, rate, verdict = fault
    with Store(tmp_path / "s.db") as store:
        kept = EvidenceKeeper(tmp_path / "evidence")
        folder = kept.folder("pump", 1.7e9)
        write_window(folder, wave, rate, verdict)
        (folder / "verdict.json").unlink()
        raise_case(store, "pump", Occurrence(1.7e9, 3.0, 2.0, "loud", str(folder)))
        Watcher(MACHINE, detector, store, evidence=kept)
        running(kept)
        until(lambda: (folder / "heat_map.svg").exists(), 20)
    assert json.loads((folder / "verdict.json").read_text())["score"] == pytest.approx(
        verdict.score, abs=0.01
    )
