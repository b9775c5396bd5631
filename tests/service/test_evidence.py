import json
import threading
import time

import pytest
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


def test_evidence_that_a_disk_refuses_is_written_later(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keeper, "_RETRY_SECONDS", 0.05)
    kept = EvidenceKeeper(tmp_path / "evidence")
    stop = threading.Event()
    (tmp_path / "evidence").write_text("in the way of the folder")
    thread = threading.Thread(target=kept.run, args=(stop,))
    thread.start()
    folder = kept.folder("pump", 1.7e9)
    kept.keep(folder, *fault)
    time.sleep(0.2)
    (tmp_path / "evidence").unlink()
    until(lambda: (folder / "heat_map.svg").exists())
    stop.set()
    thread.join()
    assert "evidence" in capsys.readouterr().err


def test_evidence_that_a_killed_service_left_without_a_picture_gets_one(fault, tmp_path):
    detector, wave, rate, verdict = fault
    with Store(tmp_path / "s.db") as store:
        kept = EvidenceKeeper(tmp_path / "evidence")
        folder = kept.folder("pump", 1.7e9)
        write_window(folder, wave, rate, verdict)
        (folder / "verdict.json").unlink()
        raise_case(store, "pump", Occurrence(1.7e9, 3.0, 2.0, "loud", str(folder)))
        Watcher(MACHINE, detector, store, evidence=kept)
        stop = threading.Event()
        thread = threading.Thread(target=kept.run, args=(stop,))
        thread.start()
        until(lambda: (folder / "heat_map.svg").exists())
        stop.set()
        thread.join()
    assert json.loads((folder / "verdict.json").read_text())["score"] == pytest.approx(
        verdict.score, abs=0.01
    )
