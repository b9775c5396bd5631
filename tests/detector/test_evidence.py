"""Claims about the evidence of an alarm."""

import dataclasses
import json
import resource

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector import evidence
from asd_jax.detector.evidence import (
    complete_evidence,
    evidence_folder,
    write_evidence,
    write_window,
)
from asd_jax.runtime.errors import InputError


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
    assert svg.startswith("<svg") and svg.count("--ink: #") == 1
    assert "http" not in svg.replace("http://www.w3.org", "")


def test_a_detector_without_patches_leaves_no_picture(fault, tmp_path, monkeypatch):
    removed = []
    monkeypatch.setattr(evidence, "remove_older", lambda *given: removed.append(given))
    detector, *rest = fault
    folder = evidence_folder(tmp_path, "pump", 1.7e9)
    write_evidence(folder, dataclasses.replace(detector, patches=None), *rest)
    assert sorted(path.name for path in folder.iterdir()) == ["sound.wav", "verdict.json"]
    assert removed == [(tmp_path / "pump", 100)]


def test_only_the_latest_folders_are_kept(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_FOLDERS", 2)
    monkeypatch.setattr(evidence, "_picture", lambda *_: "")
    (tmp_path / "pump").mkdir()
    (tmp_path / "pump" / "z.txt").touch()
    for hour in range(4):
        write_evidence(evidence_folder(tmp_path, "pump", 1.7e9 + 3600 * hour), *fault)
    (tmp_path / "pump" / "z.txt").unlink()
    names = sorted(path.name for path in (tmp_path / "pump").iterdir())
    assert names == ["20231115T001320.000000Z", "20231115T011320.000000Z"]


def test_a_full_disk_is_an_error_that_names_the_sound_so_that_it_is_written_later(fault, tmp_path):
    """soundfile passes over what a file raises: an AssertionError ended the service."""
    folder = evidence_folder(tmp_path, "pump", 1.7e9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"sound.wav: cannot be written \(File too large"):
            write_evidence(folder, *fault)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(folder.iterdir()) == []
    write_evidence(folder, *fault)
    assert len(list(folder.iterdir())) == 3


def test_only_what_is_missing_beside_a_sound_is_written_later(fault, tmp_path, monkeypatch):
    detector, wave, rate, verdict = fault
    written = []
    monkeypatch.setattr(evidence, "write_evidence", lambda *given: written.append(given))
    write_window(tmp_path, wave, rate, verdict)
    complete_evidence(tmp_path, dataclasses.replace(detector, patches=None))
    assert written == []
    complete_evidence(tmp_path, detector)
    ((folder, _, again, again_rate, found),) = written
    assert (folder, again_rate) == (tmp_path, rate) and len(again) == len(wave)
    assert found.score == pytest.approx(verdict.score, rel=0.01)
    (tmp_path / "heat_map.svg").touch()
    complete_evidence(tmp_path, detector)
    (tmp_path / "verdict.json").unlink()
    (tmp_path / "sound.wav").rename(tmp_path / "other.wav")
    complete_evidence(tmp_path, detector)
    assert len(written) == 1
    (tmp_path / "other.wav").rename(tmp_path / "sound.wav")
    complete_evidence(tmp_path, detector)
    assert len(written) == 2


def test_the_picture_of_another_window_does_not_stand_beside_a_new_sound(
    fault, tmp_path, monkeypatch
):
    (tmp_path / "heat_map.svg").touch()

    def draw(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence, "_picture", draw)
    with pytest.raises(KeyboardInterrupt):
        write_evidence(tmp_path, *fault)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sound.wav", "verdict.json"]
