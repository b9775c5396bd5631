"""A folder that is watched while it fills."""

import dataclasses
import itertools
import os
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watched import WATCHING, events, loudest

from asd_jax.detector.record import Record
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_folder import watch_folder


def put(path, wave, rate=RATE, time=1000):
    """Writes a recording whose last change was at a time."""
    soundfile.write(path, wave, rate)
    os.utime(path, (time, time))


def looks(monkeypatch, folder, *changes):
    """Returns the files of the windows of a watch whose folder changes between its looks."""
    changes = iter(changes)

    def change(seconds):
        assert seconds == 1.0  # the default
        next(changes, _end)()

    def _end():
        raise KeyboardInterrupt

    monkeypatch.setattr("asd_jax.detector.watch_folder.time.sleep", change)
    lines = []
    with pytest.raises(KeyboardInterrupt):
        for line in watch_folder(Watch(WATCHING, loudest), folder, once=False):
            lines.append(line)
    return [line.get("file") or line["event"] for line in lines]


def test_a_file_is_scored_when_it_has_stopped_to_grow_and_again_when_it_was_removed(
    tmp_path, monkeypatch
):
    one = sound(0, 0.5)

    def remove():
        (tmp_path / "a.wav").unlink()

    def write():
        put(tmp_path / "a.wav", one)

    put(tmp_path / "b.wav", one)
    nothing = (lambda: None,) * 2
    assert looks(monkeypatch, tmp_path, *nothing, write, *nothing) == ["b.wav", "a.wav"]
    remove()
    again = looks(monkeypatch, tmp_path, write, *nothing, remove, *nothing, write, *nothing)
    assert again == ["b.wav", "a.wav", "a.wav"]
    # A file that changes between two looks is still being written.
    growing = [lambda n=n: put(tmp_path / "c.wav", one, time=n) for n in range(3)]
    assert looks(monkeypatch, tmp_path, *growing) == ["a.wav", "b.wav"]


def test_a_folder_that_seems_empty_is_a_share_that_is_not_mounted(tmp_path, monkeypatch):
    one = sound(0, 0.5)
    put(tmp_path / "a.wav", one)
    nothing = (lambda: None,) * 2
    steps = (*nothing, (tmp_path / "a.wav").unlink, *nothing)
    steps = (*steps, lambda: put(tmp_path / "a.wav", one), *nothing)
    assert looks(monkeypatch, tmp_path, *steps) == ["a.wav"]


def test_what_is_left_out_is_told_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.wav")
    assert looks(monkeypatch, tmp_path, *(lambda: None,) * 3) == ["left_out"]


def test_the_oldest_recordings_come_first_whatever_their_names(tmp_path):
    for name, time in (("a", 3000), ("b", 1000), ("d", 2000), ("c", 2000)):
        put(tmp_path / f"{name}.wav", sound(0, 0.5), time=time)
    lines = watch_folder(Watch(WATCHING, loudest), tmp_path, once=True)
    assert [line["file"][0] for line in lines if "window" in line] == list("bcda")


def test_a_channel_is_read_at_the_rate_of_the_watch(tmp_path):
    both = np.stack([np.full(48000, 0.1), np.full(48000, 0.6)], 1)
    put(tmp_path / "a.wav", both, 48000)
    settings = dataclasses.replace(WATCHING, rate=8000, threshold=9.0)
    for options, level in (({}, 0.35), ({"channel": 1}, 0.6), ({"channel": 0}, 0.1)):
        watch = Watch(settings, lambda wave: float(np.median(wave)))
        lines = list(watch_folder(watch, tmp_path, once=True, **options))
        windows = [line for line in lines if "window" in line]
        assert [line["start"] for line in windows] == [0, 0.25, 0.5]
        assert windows[1]["score"] == pytest.approx(level, abs=1e-3)
        assert not events(lines, "wrong_rate", "resampled", "too_short")


def test_what_is_wrong_with_a_file_is_told_with_its_name(tmp_path):
    put(tmp_path / "a.wav", sound(0, 0.5, rate=8000), 8000)
    put(tmp_path / "b.wav", sound(0, 0.45))  # nine tenths of a window
    put(tmp_path / "c.wav", sound(0, 0.45)[:-1])
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    lines = list(watch_folder(Watch(WATCHING, loudest), tmp_path, once=True))
    told = events(lines, "wrong_rate", "too_short", "unreadable")
    assert [(line["event"], line["file"], line["at"]) for line in told] == [
        ("wrong_rate", "a.wav", 0.0),
        ("too_short", "c.wav", 0.0),
        ("unreadable", "d.wav", 0.0),
    ]
    assert told[1]["message"].startswith("0.45 s of sound")


def test_a_record_knows_the_files_and_forgets_those_that_were_removed(tmp_path):
    put(tmp_path / "a.wav", sound(0, 0.5), time=1000)
    put(tmp_path / "b.wav", sound(0, 1.0), time=2000)
    record = Mock(spec=Record)
    record.recorder = Mock(machine="pump")
    known = {"a.wav": 1_000_000_000, "b.wav": 1_999_999_999, "gone.wav": 5}
    record.recorder.store.read_files.return_value = known
    record.window.return_value = []
    watch = Watch(WATCHING, loudest, record=record)
    first, *lines = watch_folder(watch, tmp_path, once=True)
    assert first["event"] == "read_before" and first["at"] == 0.0
    assert first["message"].startswith("1 recordings ")
    assert {line["file"] for line in lines if "window" in line} == {"b.wav"}
    record.recorder.store.read_files.assert_called_once_with("pump")
    record.recorder.forget_read.assert_called_once_with({"gone.wav"})
    record.recorder.read.assert_called_once_with("b.wav", 2_000_000_000)
    # A recording of a second ended when its file was changed last.
    assert [call.args[0] for call in record.window.call_args_list] == [1999.0, 1999.25, 1999.5]


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
