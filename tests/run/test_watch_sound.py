"""`detect watch`: where the sound comes from, what is recorded, and how it ends."""

import io
import json
import os
import re
import subprocess
import sys
import time
import types
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import Calls
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax.detect import parser
from asd_jax.detector.detector import Detector
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_settings import WatchSettings, release_score
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.run import watch_sound
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import OutputFailed

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


def arguments(*flags, place="-", detector="x"):
    return parser().parse_args(["watch", f"--detector={detector}", f"--input={place}", *flags])


def test_every_flag_of_the_alarm_reaches_the_watch(fitted):
    detector = Detector.load(fitted)
    flags = ["--hysteresis=0.5", "--confirm=3", "--hold_seconds=7", "--status_seconds=90"]
    flags += ["--of=5", "--on_delay_seconds=4"]
    settings = WatchSettings(
        rate=RATE,
        window_seconds=2.0,
        hop_seconds=2.0,
        threshold=detector.threshold,
        release=release_score(detector.bank.normal, detector.threshold, 0.5),
        confirm=3,
        hold_seconds=7.0,
        status_seconds=90.0,
        of=5,
        on_delay_seconds=4.0,
    )
    assert watch_sound._watch_settings(arguments(*flags), detector) == settings
    hop = watch_sound._watch_settings(arguments("--hop_seconds=0.5"), detector).hop_seconds
    assert hop == 0.5


@pytest.mark.parametrize(
    "flag",
    [
        *("--hysteresis=-0.01", "--hysteresis=1.01", "--hysteresis=nan"),
        *("--gap_seconds=0", "--gap_seconds=nan", "--settle=-0.1", "--settle=nan"),
    ],
)
def test_a_number_out_of_its_range_is_refused_before_the_detector_is_read(flag):
    with pytest.raises(InputError, match=r"--hysteresis must lie in 0\.\.1, --gap_seconds above 0"):
        watch_sound.watch(arguments(flag, detector="nowhere"))


@pytest.mark.parametrize(
    "flag", ["--hysteresis=0", "--hysteresis=1", "--gap_seconds=0.01", "--settle=0", "--settle=0.1"]
)
def test_a_number_at_the_end_of_its_range_is_taken(flag):
    with pytest.raises(InputError, match="nowhere: no such detector"):
        watch_sound.watch(arguments(flag, detector="nowhere"))


@pytest.fixture
def calls(monkeypatch):
    calls = Calls(monkeypatch, watch_sound)
    calls.answer("watch_folder", iter([]))
    calls.answer("watch_bytes", iter([]))
    calls.answer("chunks_of_stream", "stream")
    calls.answer("sound_of_file", (SampleFormat("u8"), "file"))
    return calls


def test_sound_comes_from_the_standard_input_a_pipe_a_file_or_a_folder(
    calls, tmp_path, monkeypatch
):
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stream))
    raw = SampleFormat("s24le")
    watcher = Watch(WatchSettings(RATE, 2.0, 2.0, 1.0, 1.0), lambda wave: 0.0)

    def lines(place, *flags):
        calls.clear()
        watch_sound._lines(arguments(*flags, place=place), watcher, raw)
        if "watch_folder" in calls:
            return calls["watch_folder"]
        (_, chunks, decoder), _ = calls["watch_bytes"]
        assert decoder.name == str(place)
        return chunks, decoder.format, decoder.channel

    assert lines("-", "--gap_seconds=3", "--channel=1") == ("stream", raw, 1)
    assert calls["chunks_of_stream"] == ((stream,), {"gap_seconds": 3.0})
    os.mkfifo(tmp_path / "pipe")
    # Both ends are opened here, so that none waits for the other.
    end = os.open(tmp_path / "pipe", os.O_RDWR)
    assert lines(tmp_path / "pipe", "--gap_seconds=5") == ("stream", raw, None)
    (pipe,), options = calls["chunks_of_stream"]
    assert pipe.name == str(tmp_path / "pipe") and options == {"gap_seconds": 5.0}
    pipe.close()
    os.close(end)
    (tmp_path / "a.wav").touch()
    assert lines(tmp_path / "a.wav") == ("file", SampleFormat("u8"), None)
    assert calls["sound_of_file"][0] == (tmp_path / "a.wav", raw)
    given = (watcher, tmp_path)
    assert lines(tmp_path) == (given, {"once": False, "channel": "mean"})
    assert lines(tmp_path, "--once", "--channel=1") == (given, {"once": True, "channel": 1})
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        lines(tmp_path / "nowhere")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="no standard input, it is closed"):
        lines("-")


def test_a_file_is_recorded_as_of_the_time_at_which_it_began(fitted, tmp_path):
    detector = Detector.load(fitted)
    raw = SampleFormat("s16le", 8000, 2)

    def record(place, *flags):
        flags = [f"--store={tmp_path / 'plant.db'}", "--machine=pump", *flags]
        return watch_sound._record(arguments(*flags, place=place), detector, raw)

    write(tmp_path, [sound(0, 3.0)])
    (tmp_path / "a.raw").write_bytes(bytes(4 * 8000 * 5))
    for name in ("00.wav", "a.raw"):
        os.utime(tmp_path / name, (1.8e9, 1.8e9))
    found = record(tmp_path / "00.wav", "--quiet_hours=22:00-06:00")
    assert found.began == 1.8e9 - 3 and found.rate == RATE and found.detector is detector
    assert found.recorder.machine == "pump"
    assert found.recorder.quiet == QuietHours.parse("22:00-06:00")
    # Raw samples have no header, so their number gives the length.
    assert record(tmp_path / "a.raw").began == 1.8e9 - 5
    # What arrives now has the time of its arrival.
    assert record(tmp_path).began is record("-").began is None
    assert watch_sound._record(arguments(), detector, raw) is None
    with pytest.raises(InputError, match="--quiet_hours belongs to --store"):
        watch_sound._record(arguments("--quiet_hours=22:00-06:00"), detector, raw)


def watched(fitted, place, *flags):
    return watch_sound.watch(arguments(*flags, place=place, detector=fitted))


def test_an_alarm_is_explained_and_gives_the_exit_status(fitted, tmp_path, capsys):
    healthy, faulty = write(tmp_path, [sound(500, 8.0), sound(501, 8.0, fault=0.05)]).iterdir()
    healthy, faulty = sorted((healthy, faulty))
    assert watched(fitted, healthy) == 0
    assert "alarm_start" not in capsys.readouterr().out
    assert watched(fitted, faulty) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["event"] == "start" and lines[0]["false_alarm_rate"] == 0.05
    (start,) = [line for line in lines if line.get("event") == "alarm_start"]
    assert start["message"].startswith("it differs most in its ")
    windows = [line for line in lines if "window" in line]
    assert len(windows) == 4 and all(0 <= line["p_value"] <= 1 for line in windows)
    # Lines of a file are always the same.
    assert not any("time" in line for line in lines)


def test_the_first_window_is_compiled_for_and_a_session_is_settled_in(
    fitted, tmp_path, monkeypatch
):
    made = []

    class Settling(watch_sound.Settling):
        def __init__(self, detector, rate, minutes):
            super().__init__(detector, rate, minutes)
            made.append((rate, minutes))

        def compile(self, samples):
            made.append(samples)

    started = Calls(monkeypatch, watch_sound)
    started.answer("start_quickly")
    monkeypatch.setattr(watch_sound, "Settling", Settling)
    write(tmp_path, [sound(500)])
    watched(fitted, tmp_path / "00.wav", "--hop_seconds=1", "--settle=2.5")
    assert made == [(RATE, 2.5), 2 * RATE] and "start_quickly" in started


@pytest.mark.parametrize(
    ("ends", "last"), [(KeyboardInterrupt, "end"), (OutputFailed("gone"), "start")]
)
def test_a_stream_that_is_interrupted_ends_in_order_and_one_that_nobody_reads_at_once(
    fitted, monkeypatch, capsys, ends, last
):
    def lines(args, watcher, raw):
        raise ends
        yield

    monkeypatch.setattr(watch_sound, "_lines", lines)
    assert watched(fitted, "-") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == last
    # Where sound arrives, the time is that of the clock, in whole seconds and with its offset.
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["time"])
