"""Claims about recordings in files and folders."""

import os
import threading

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import machine

from asd_jax.detector.stream import Event
from asd_jax.monitoring.store import Store
from asd_jax.service import files
from asd_jax.service.readers import reader_of
from asd_jax.service.sources import Sound


def test_a_file_ends_when_it_was_changed_last(tmp_path):
    wave = sound(0, 1.0)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    os.utime(tmp_path / "a.wav", (1e9, 1e9))
    read, live = reader_of(machine(tmp_path / "a.wav"))
    *blocks, end = list(read(threading.Event()))
    assert not live and end.event == "ended"
    heard = np.concatenate([block.wave for block in blocks])
    assert np.abs(heard - wave).max() <= 2 / 32768
    assert blocks[-1].ended - blocks[0].ended == pytest.approx(0.9, abs=1e-3)
    assert blocks[-1].ended == pytest.approx(1e9, abs=1e-3)


def test_recordings_of_a_folder_are_timed_by_their_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(0, 1.0), RATE)
    os.utime(tmp_path / "a.wav", (1e9, 1e9))
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    stop = threading.Event()
    found = []
    for item in reader_of(machine(tmp_path))[0](stop):
        found.append(item)
        if len(found) == 2:
            stop.set()
    (one,) = (item for item in found if isinstance(item, Sound))
    (bad,) = (item for item in found if isinstance(item, Event))
    assert one.ended == 1e9 and one.file == "a.wav" and bad.event == "unreadable"


def names_of(items, stop, count):
    """Returns the names of so many recordings, and then sets `stop`."""
    found = []
    for item in items:
        found.append(item.file)
        if len(found) == count:
            stop.set()
    return found


def test_recordings_that_were_read_are_not_read_again_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOOK_SECONDS", 0.02)
    place = tmp_path / "in"
    place.mkdir()
    for name, moment in (("a", 1e9), ("b", 1e9 + 60)):
        soundfile.write(place / f"{name}.wav", sound(0, 0.1), RATE)
        os.utime(place / f"{name}.wav", (moment, moment))
    with Store(tmp_path / "s.db") as store:
        first, second, third = (threading.Event() for _ in range(3))
        read = reader_of(machine(place), store)[0]
        assert names_of(read(first), first, 2) == ["a.wav", "b.wav"]
        # Only what was scored is known as read; a recording that changed is another one.
        store.set_read("pump", "a.wav", round(1e6 * 1e9))
        assert names_of(read(second), second, 1) == ["b.wav"]
        store.set_read("pump", "b.wav", round(1e6 * (1e9 + 60)))
        os.utime(place / "a.wav", (2e9, 2e9))
        (place / "b.wav").unlink()
        assert names_of(read(third), third, 1) == ["a.wav"]
        assert set(store.read_files("pump")) == {"a.wav"}


def test_an_empty_folder_forgets_nothing_as_it_may_be_a_share_that_is_not_mounted(tmp_path):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with Store(tmp_path / "s.db") as store:
        store.set_read("pump", "a.wav", 1)
        (tmp_path / "in").mkdir()
        assert list(reader_of(machine(tmp_path / "in"), store)[0](stop)) == []
        assert store.read_files("pump") == {"a.wav": 1}
