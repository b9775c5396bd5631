import json
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound, write

import asd_jax.detect

REPOSITORY = Path(__file__).parents[2]


def test_watch_a_stream(fitted, tmp_path):
    wave = np.concatenate([sound(500, 4.0), sound(501, 6.0, fault=0.05), sound(502, 8.0)])
    flags = [f"--detector={fitted}", "--input=-", "--hop_seconds=1", "--hold_seconds=2"]
    command = [sys.executable, "-m", "asd_jax.detect", "watch", *flags]
    stream = (wave * 32767).astype("<i2").tobytes()
    done = subprocess.run(command, cwd=REPOSITORY, input=stream, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["window"] for line in lines if "window" in line] == list(range(17))
    # Where sound arrives, every line says when it was printed.
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in lines]
    assert times == sorted(times) and 0 <= time.time() - times[0] < 300
    (start,) = [line for line in lines if line.get("event") == "alarm_start"]
    (end,) = [line for line in lines if line.get("event") == "alarm_end"]
    assert re.match(
        r"it differs most in its .*, \S+ kHz, \+\d+ dB against normal", start["message"]
    )
    assert start["at"] - 4.0 <= lines[0]["alarm_latency_seconds"] and end["end"] == pytest.approx(
        11.0, abs=1.0
    )
    assert (
        lines[-1]["event"] == "end"
        and lines[-1]["latency_ms"]["median"] > 0
        and lines[-1]["cpu_share"] > 0
    )


def test_watch_a_file_and_a_folder(command, fitted, tmp_path):
    folder = write(tmp_path / "filled", [sound(600 + n) for n in range(3)])
    for place in (folder / "00.wav", folder):
        status, out, err = command(
            asd_jax.detect, "watch", f"--detector={fitted}", f"--input={place}", "--once"
        )
        assert status == 0, err
        lines = [json.loads(line) for line in out.splitlines()]
        assert sum("window" in line for line in lines) == (3 if place == folder else 1)
        assert all(("time" in line) == (place == folder) for line in lines)
    for name, subtype in (
        ("a.flac", "PCM_16"),
        ("mu_law.wav", "ULAW"),
        ("double.wav", "DOUBLE"),
        ("a.WAVE", "PCM_16"),
    ):
        soundfile.write(
            tmp_path / name,
            sound(700, 4.0),
            RATE,
            subtype,
            format="FLAC" if name == "a.flac" else "WAV",
        )
        flags = [f"--detector={fitted}", f"--input={tmp_path / name}", "--gap_seconds=1e20"]
        status, out, err = command(asd_jax.detect, "watch", *flags)
        assert status == 0 and [json.loads(line).get("window") for line in out.splitlines()] == [
            None,
            0,
            1,
            None,
        ], err
