"""Claims about the evidence of an alarm."""

import json

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector import evidence
from asd_jax.detector.evidence import evidence_folder, write_evidence


@pytest.fixture(scope="module")
def fault(plain):
    wave = sound(20, fault=0.3)
    return plain, wave, RATE, plain.examine(wave, RATE)


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
