import json
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import until

from asd_jax.detector import evidence
from asd_jax.detector.evidence import evidence_folder, write_evidence
from asd_jax.service import evidence as keeper
from asd_jax.service.evidence import EvidenceKeeper


@pytest.fixture(scope="module")
def fault(plain_detector):
    wave = sound(20, 1.0, fault=0.3)
    return plain_detector, wave, RATE, plain_detector.examine(wave, RATE)


def test_the_evidence_is_the_sound_the_verdict_and_a_picture_that_stands_alone(fault, tmp_path):
    detector, wave, rate, verdict = fault
    folder = evidence_folder(tmp_path, "pump", 1.7e9)
    write_evidence(folder, *fault)
    assert np.abs(soundfile.read(folder / "sound.wav")[0] - wave.clip(-1, 1)).max() < 2 / 32768
    kept = json.loads((folder / "verdict.json").read_text())
    assert kept["score"] == round(verdict.score, 6) and "kHz" in kept["where"]
    svg = (folder / "heat_map.svg").read_text()
    assert (
        svg.startswith("<svg")
        and "--ink: #" in svg
        and "http" not in svg.replace("http://www.w3.org", "")
    )


def test_only_the_latest_folders_are_kept(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_FOLDERS", 2)
    monkeypatch.setattr(evidence, "_picture", lambda *_: "")
    for hour in range(4):
        write_evidence(evidence_folder(tmp_path, "pump", 1.7e9 + 3600 * hour), *fault)
    names = sorted(path.name for path in (tmp_path / "pump").iterdir())
    assert names == ["20231115T001320.000000Z", "20231115T011320.000000Z"]


def test_evidence_that_a_disk_refuses_is_written_later(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keeper, "_RETRY_SECONDS", 0.05)
    kept, stop = EvidenceKeeper(tmp_path / "evidence"), threading.Event()
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
