"""`detect score`: statuses, what is written, and archives."""

import csv
import json
import os

import numpy as np
import pytest
import soundfile
from calls import Calls
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax import Detector
from asd_jax.data.audio import read_clip, resample
from asd_jax.detect import parser
from asd_jax.run import score_recordings, shards
from asd_jax.runtime.errors import InputError


def test_score_goes_on_after_a_bad_file(command, fitted, tmp_path):
    test = write(tmp_path / "test", [sound(300), sound(301)])
    (test / "00.wav").write_bytes(b"RIFF")
    status, out, err = command(asd_jax.detect, "score", f"--detector={fitted}", test, "--json")
    assert status == 2 and "00.wav: not readable" in err and len(out.splitlines()) == 1
    # An anomaly decides the status first.
    write(tmp_path / "more", [sound(302, fault=0.05)])
    flags = [f"--detector={fitted}", test, tmp_path / "more"]
    assert command(asd_jax.detect, "score", *flags)[0] == 3


def scored(fitted, *words):
    return score_recordings.score(parser().parse_args(["score", f"--detector={fitted}", *words]))


@pytest.fixture
def recordings(tmp_path):
    return write(tmp_path / "test", [sound(300), sound(301, fault=0.05)])


def test_a_table_is_shown_unless_objects_are_asked_for(fitted, recordings, capsys):
    assert scored(fitted, str(recordings)) == 3
    out, err = capsys.readouterr()
    assert "threshold" in out and out.count(".wav") == 2 and "1 of 2 anomalous" in err
    assert scored(fitted, str(recordings), "--json") == 3
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"][-6:] for line in out.splitlines()] == ["00.wav", "01.wav"]
    assert "anomalous" not in err
    assert scored(fitted, str(recordings / "00.wav")) == 0


def test_results_that_are_nowhere_else_must_be_printed(fitted, recordings, tmp_path, monkeypatch):
    calls = Calls(monkeypatch, score_recordings)
    calls.answer("printed", [])
    for flags, only in (
        ([], True),
        ([f"--csv={tmp_path / 'x.csv'}"], False),
        ([f"--html={tmp_path / 'x.html'}"], False),
    ):
        scored(fitted, str(recordings), *flags)
        assert calls["printed"][1] == {"as_json": False, "only": only}


def test_outputs_are_checked_before_anything_is_scored_and_replaced_ones_are_named(
    fitted, recordings, tmp_path, monkeypatch, capsys
):
    there = tmp_path / "there"
    there.write_text("old")
    monkeypatch.setattr(score_recordings, "Detector", None)
    for flag in ("--csv", "--html"):
        with pytest.raises(InputError, match=f"{flag}: {tmp_path}: cannot be written"):
            scored(fitted, str(recordings), f"{flag}={tmp_path}")
        with pytest.raises(AttributeError):
            scored(fitted, str(recordings), f"{flag}={there}")
        assert capsys.readouterr().err == f"{there} is there and will be replaced\n"
    with pytest.raises(InputError, match="leave out --workdir, or --html"):
        scored(fitted, str(recordings), "--workdir=w", "--html=x.html")


def test_the_page_has_the_recordings_that_could_be_scored_and_the_nearest_normal_one(
    fitted, recordings, tmp_path, monkeypatch
):
    (recordings / "02.wav").write_bytes(b"RIFF")
    calls = Calls(monkeypatch, score_recordings)
    calls.answer("write_score_page")
    calls.answer("start_quickly")
    calls.answer("normal_files", {"a": recordings / "00.wav"})
    page = f"--html={tmp_path / 'x.html'}"
    scored(fitted, str(recordings), page, "--normal=n", "--normal=m", "--channel=0")
    (path, detector, on_page, read, read_normal), named = calls["write_score_page"]
    assert path == str(tmp_path / "x.html") and named == {"name": "pump"}
    assert [name[-6:] for name, _ in on_page] == ["00.wav", "01.wav"]
    assert [verdict.is_anomaly for _, verdict in on_page] == [False, True]
    wave = read_clip(recordings / "00.wav")
    np.testing.assert_array_equal(read(recordings / "00.wav"), wave)
    np.testing.assert_array_equal(read_normal("a"), wave)
    assert calls["normal_files"][0] == (detector.names, ["n", "m"])
    assert "start_quickly" in calls
    scored(fitted, str(recordings), page)
    assert calls["write_score_page"][0][4] is None


def test_recordings_are_read_at_the_detectors_rate(fitted, tmp_path, monkeypatch):
    calls = Calls(monkeypatch, score_recordings)
    calls.answer("verdicts_of", [])
    soundfile.write(tmp_path / "a.wav", resample(sound(300), RATE, 8000), 8000)
    scored(fitted, str(tmp_path / "a.wav"))
    _, paths, read = calls["verdicts_of"][0]
    assert len(read(paths[0])) == 2 * RATE


def test_rows_of_an_archive_are_of_one_detector_channel_and_runtime(
    fitted, recordings, tmp_path, monkeypatch
):
    made = []

    class NoRows(score_recordings.ShardedRows):
        def __init__(self, workdir, settings, paths, rows_of):
            self.shards = []
            made.append(settings)

    monkeypatch.setattr(score_recordings, "ShardedRows", NoRows)
    monkeypatch.setattr(Detector, "with_runtime", lambda detector, runtime: detector)
    for flags in ([], ["--channel=1"], ["--runtime=openvino"]):
        assert scored(fitted, str(recordings), f"--workdir={tmp_path / 'w'}", *flags) == 0
    digest = score_recordings.file_sha256(fitted)
    assert made == [(digest, "mean"), (digest, "1"), (digest, "mean", "openvino")]


def test_short_recordings_and_names_that_are_not_utf_8_are_told(command, fitted, tmp_path):
    test = write(tmp_path / "test", [sound(300), sound(301, 1.0)])
    os.rename(os.fsencode(test / "00.wav"), os.fsencode(test) + b"/p\xfcmpe.wav")
    table = tmp_path / "scores.csv"
    page = tmp_path / "scores.html"
    _, out, err = command(
        asd_jax.detect, "score", f"--detector={fitted}", test, f"--csv={table}", f"--html={page}"
    )
    assert (
        "1 of 2 recordings are shorter than the window of 2 s" in err
        and r"p\udcfcmpe.wav" in page.read_text()
    )
    with open(table, newline="") as file:
        short, whole = csv.DictReader(file)
    assert (
        short["note"].startswith("short: less than the window of 2 s")
        and not whole["note"]
        and "(short)" in out
    )
    assert whole["file"].endswith(r"p\udcfcmpe.wav")


def test_defects_of_a_recording_are_told_beside_its_score(command, fitted, tmp_path):
    test = write(tmp_path / "test", [np.zeros(2 * RATE), 20 * sound(300), sound(301)])
    soundfile.write(test / "03.wav", resample(sound(302), RATE, 8000), 8000)
    _, out, _ = command(asd_jax.detect, "score", f"--detector={fitted}", test, "--json")
    silent, clipped, well, low = (json.loads(line)["note"] for line in out.splitlines())
    assert (
        silent.startswith("silence: no sound at all")
        and clipped.startswith("clipping: ")
        and not well
    )
    assert low.startswith("rate: sound of 8000 Hz holds nothing above 4000 Hz")
    _, out, _ = command(asd_jax.detect, "score", f"--detector={fitted}", test)
    assert all(f"({name})" in out for name in ("silence", "clipping", "rate"))


def test_an_archive_is_scored_shard_by_shard_to_the_same_bytes(
    command, fitted, tmp_path, monkeypatch
):
    test = write(tmp_path / "test", [sound(300 + n, fault=0.05 if n == 3 else 0) for n in range(7)])
    (test / "05.wav").write_bytes(b"RIFF")
    table = tmp_path / "scores.csv"
    flags = [f"--detector={fitted}", test]
    status, _, err = command(asd_jax.detect, "score", *flags, f"--csv={table}")
    assert status == 3 and "05.wav: not readable" in err and "1 of 6 anomalous" in err
    at_once = table.read_bytes()
    monkeypatch.setattr(shards, "SHARD", 3)
    flags += [f"--csv={table}", f"--workdir={tmp_path / 'kept'}"]
    examine_all = Detector.examine_all

    def pulled(detector, waves, sample_rate=None):
        pulled.count += len(waves)
        if pulled.count > pulled.most:
            raise KeyboardInterrupt
        return examine_all(detector, waves, sample_rate)

    monkeypatch.setattr(Detector, "examine_all", pulled)
    pulled.count = 0
    pulled.most = 4
    assert command(asd_jax.detect, "score", *flags)[0] == 1  # in the second shard
    table.unlink()
    pulled.count = 0
    pulled.most = 6 - 3
    status, out, err = command(asd_jax.detect, "score", *flags)
    assert status == 3 and not out and "05.wav: not readable" in err and "1 of 6 anomalous" in err
    assert table.read_bytes() == at_once
    pulled.count = 0
    pulled.most = 0
    status, out, err = command(asd_jax.detect, "score", *flags, "--json")
    assert (
        status == 3 and [json.loads(line)["file"][-6:] for line in out.splitlines()][-1] == "06.wav"
    )
    status, _, err = command(asd_jax.detect, "score", *flags, "--html=x.html")
    assert status == 2 and "leave out --workdir" in err


def test_the_channel_that_is_named_is_scored(command, fitted, tmp_path):
    stereo = np.stack([sound(300), sound(300, fault=0.05)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE)
    flags = [f"--detector={fitted}", tmp_path / "a.wav"]
    found = [command(asd_jax.detect, "score", *flags, f"--channel={n}")[0] for n in (0, 1)]
    assert found == [0, 3]
