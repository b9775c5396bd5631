"""A folder that is watched while it fills."""

import itertools
import os

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watched import WATCHING, events, loudest

from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_folder import watch_folder


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


def test_folders_below_are_watched_and_what_is_left_out_is_told(tmp_path):
    (tmp_path / "monday").mkdir()
    soundfile.write(tmp_path / "monday" / "a.wav", sound(0, 1.0), RATE)
    os.mkfifo(tmp_path / "pipe.wav")
    lines = list(watch_folder(Watch(WATCHING, loudest), tmp_path, once=True))
    assert [line["file"] for line in lines if "window" in line] == ["monday/a.wav"] * 3
    (left_out,) = events(lines, "left_out")
    assert "pipe.wav: a pipe or device" in left_out["message"] and left_out["at"] == 0.0


def test_two_looks_at_a_folder_are_the_time_asked_for_apart(tmp_path, monkeypatch):
    done = []

    def files(folder):
        if done.count("look") == 4:
            raise KeyboardInterrupt
        done.append("look")
        return {}, frozenset()

    monkeypatch.setattr("asd_jax.detector.watch_folder._files", files)
    monkeypatch.setattr("asd_jax.detector.watch_folder.time.sleep", done.append)
    with pytest.raises(KeyboardInterrupt):
        list(watch_folder(Watch(WATCHING, loudest), tmp_path, once=False, poll_seconds=7.0))
    # the first look is for what is in the record already
    assert done == ["look", "look", 7.0, "look", 7.0, "look", 7.0]
