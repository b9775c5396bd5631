import csv
import json
import os

import numpy as np
import soundfile
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax import Detector
from asd_jax.data.audio import resample
from asd_jax.run import shards


def test_score_goes_on_after_a_bad_file(command, fitted, tmp_path):
    test = write(tmp_path / "test", [sound(300), sound(301)])
    (test / "00.wav").write_bytes(b"RIFF")
    status, out, err = command(asd_jax.detect, "score", f"--detector={fitted}", test, "--json")
    assert status == 2 and "00.wav: not readable" in err and len(out.splitlines()) == 1


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
