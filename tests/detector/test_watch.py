import itertools
import os

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watched import WATCHING, events, lines_of, loudest

from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_folder import watch_folder
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.runtime.errors import InputError

NAN = float("nan")


def test_one_line_a_window_with_start_and_end_of_the_alarm():
    wave = sound(0, 6.0)
    wave[2 * RATE : 3 * RATE] = 0.9
    lines = lines_of(wave)
    windows = [line for line in lines if "window" in line]
    assert [line["start"] for line in windows] == list(np.arange(0, 5.51, 0.25))
    start, end = events(lines, "alarm_start", "alarm_end")
    assert (start["start"], end["start"], end["end"]) == (1.75, 1.75, 3.25)
    assert [line["alarm"] for line in windows].count(True) > 4 and lines[-1]["event"] == "end"
    assert lines[-1]["alarms"] == 1 and lines[-1]["unheard_seconds"] == 0


def test_alarm_comes_within_the_stated_latency():
    from benchmarks.watch import alarm_latency

    figures, broken = alarm_latency(5)
    assert not broken and 2.5 < figures["longest_seconds"] <= figures["stated_seconds"] == 3.0


def test_defects_of_the_sound_are_told_once_each_way():
    wave = sound(1, 8.0)
    wave[2 * RATE : 3 * RATE] = np.sign(wave[2 * RATE : 3 * RATE])
    wave[4 * RATE : 6 * RATE] = 0
    lines = lines_of(wave)
    told = [line["event"] for line in events(lines, "clipping", "silence", "dropout")]
    assert told == ["clipping", "clipping", "silence", "silence"]
    assert [line["at"] for line in events(lines, "silence")] == [4.0, 5.75]


def test_gap_and_resumption_are_told_and_no_window_is_lost():
    content = (sound(2, 2.0) * 32767).astype("<i2").tobytes()
    chunks = [(content[:30001], 1.0), (b"", 3.0), (b"", 5.0), (content[30001:], 6.0)]
    lines = lines_of(None, chunks)
    assert [line["event"] for line in events(lines, "gap", "resumed")] == ["gap", "resumed"]
    assert sum("window" in line for line in lines) == 7


def test_too_short_a_stream_is_told():
    lines = lines_of(sound(0, 0.4))
    assert (
        events(lines, "too_short")
        and lines[-1]["windows"] == 0
        and lines[-1]["unheard_seconds"] == 0.4
    )


def test_folder_is_heard_as_it_fills(tmp_path):
    def write(name, wave):
        soundfile.write(tmp_path / f".{name}", wave, RATE, format="WAV")
        os.replace(tmp_path / f".{name}", tmp_path / name)

    write("a.wav", sound(0, 1.0))
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    lines = watch_folder(Watch(WATCHING, loudest), tmp_path, once=False, poll_seconds=0.01)
    first = list(itertools.islice(lines, 4))
    assert [line.get("file") for line in first] == ["a.wav"] * 3 + ["b.wav"] and first[3][
        "event"
    ] == "unreadable"
    write("c.wav", np.full(RATE, 0.9))
    more = list(itertools.islice(lines, 4))
    assert [line.get("file") for line in more] == ["c.wav"] * 3 + [None]
    assert more[3] == {
        "event": "alarm_start",
        "start": 0.0,
        "start_file": "c.wav",
        "at": 0.75,
        "at_file": "c.wav",
        "peak": 0.9,
    }


def test_folder_once(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(0, 1.0), RATE)
    lines = list(watch_folder(Watch(WATCHING, loudest), tmp_path, once=True))
    assert [line.get("window") for line in lines] == [0, 1, 2, None] and lines[-1]["event"] == "end"


def test_times_are_counted_in_the_file_that_is_named(tmp_path):
    loud = np.full(RATE // 2, 0.9)
    waves = [
        sound(0, 1.0),
        np.concatenate([sound(1, 0.5), loud]),
        loud,
        sound(2, 3.0),
        sound(3, 0.3),
    ]
    for n, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{n}.wav", wave, RATE)
        os.utime(tmp_path / f"{n}.wav", (n, n))
    lines = list(
        watch_folder(Watch(WATCHING, lambda wave: float(wave.mean())), tmp_path, once=True)
    )
    start, end = events(lines, "alarm_start", "alarm_end")
    assert {key: start[key] for key in ("start", "start_file", "at", "at_file")} == {
        "start": 0.5,
        "start_file": "1.wav",
        "at": 0.5,
        "at_file": "2.wav",
    }
    assert {key: end[key] for key in ("start", "start_file", "end", "end_file", "seconds")} == {
        "start": 0.5,
        "start_file": "1.wav",
        "end": 0.5,
        "end_file": "2.wav",
        "seconds": 1.0,
    }
    assert [(line["file"], line["at"]) for line in events(lines, "silence")] == [
        ("1.wav", 0.5),
        ("3.wav", 0.0),
    ]
    assert [line["file"] for line in events(lines, "too_short")] == ["4.wav"]


def test_memory_does_not_grow_with_the_stream():
    from benchmarks.watch import endurance

    figures, broken = endurance(0.2, loudest, 0.5)
    assert not broken and figures["windows"] == 1440


def test_impossible_watching_is_refused():
    for wrong in (
        {"hop_seconds": 0.6},
        {"hop_seconds": 0.0},
        {"confirm": 0},
        {"release": 0.6},
        {"hold_seconds": NAN},
        {"status_seconds": NAN},
    ):
        with pytest.raises(InputError):
            WatchSettings(**{**vars(WATCHING), **wrong})


def test_folders_below_are_watched_and_what_is_left_out_is_told(tmp_path):
    (tmp_path / "monday").mkdir()
    soundfile.write(tmp_path / "monday" / "a.wav", sound(0, 1.0), RATE)
    os.mkfifo(tmp_path / "pipe.wav")
    lines = list(watch_folder(Watch(WATCHING, loudest), tmp_path, once=True))
    assert [line["file"] for line in lines if "window" in line] == ["monday/a.wav"] * 3
    assert "pipe.wav: a pipe or device" in events(lines, "left_out")[0]["message"]
