"""Claims about recordings in files and folders."""

import os
import threading
import types

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import machine

from asd_jax.detector.stream import Event
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError
from asd_jax.service import files
from asd_jax.service.readers import reader_of
from asd_jax.service.sources import Sound


class Looks(threading.Event):
    """The event that ends a reader; its waits take no time, and do what comes next instead.

    Attributes:
        now: seconds that were waited.
        waited: each of the waits.
    """

    def __init__(self, *steps):
        super().__init__()
        self.steps = [lambda: None, *steps]
        self.now = 0.0
        self.waited = []
        self.asked = 0

    def is_set(self):
        self.asked += 1
        return super().is_set() or self.asked > 100  # no test looks for ever

    def wait(self, seconds):
        self.now += seconds
        self.waited.append(seconds)
        if not self.steps:
            self.set()
            return
        self.steps.pop(0)()


@pytest.mark.parametrize("form", ["wav", "ogg"])  # whose length only decoding reveals
def test_a_file_ends_when_it_was_changed_last(tmp_path, form):
    wave = sound(0, 1.0)
    path = tmp_path / f"a.{form}"
    soundfile.write(path, wave, RATE)
    os.utime(path, (1e9, 1e9))
    read, live = reader_of(machine(path))
    *blocks, end = list(read(threading.Event()))
    assert not live and end == Event("ended", f"a.{form} has been read to its end")
    assert {(len(block.wave), block.rate, block.file) for block in blocks} == {(1600, RATE, "")}
    heard = np.concatenate([block.wave for block in blocks])
    assert np.abs(heard - wave).max() <= (2 / 32768 if form == "wav" else 0.1)
    ended = 1e9 - 0.1 * np.arange(9, -1, -1)
    np.testing.assert_allclose([block.ended for block in blocks], ended, rtol=0, atol=1e-6)


def test_a_file_that_is_played_comes_at_its_own_speed_and_catches_up(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", sound(0, 0.6), RATE)
    stop = Looks(*[lambda: None] * 9)
    clocks = types.SimpleNamespace(monotonic=lambda: stop.now, time=lambda: 1e9 + stop.now)
    monkeypatch.setattr(files, "time", clocks)
    came = []
    for block in reader_of(machine(tmp_path / "a.wav", realtime=True))[0](stop):
        if isinstance(block, Sound):
            came.append(block.ended - 1e9)
            stop.now += 0.25 * (len(came) == 1)  # scoring takes long for once
    assert came == pytest.approx([0.1, 0.35, 0.35, 0.4, 0.5, 0.6], abs=1e-6)


def test_a_file_of_a_service_that_ends_is_not_read_on(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(0, 1.0), RATE)
    stop = threading.Event()
    found = []
    for item in reader_of(machine(tmp_path / "a.wav"))[0](stop):
        found.append(item)
        stop.set()
    assert len(found) == 1 and isinstance(found[0], Sound)


@pytest.mark.parametrize("in_folder", [False, True])
def test_the_channel_of_the_configuration_is_read_at_the_rate_of_the_file(tmp_path, in_folder):
    left = sound(0, 0.5, rate=22050)
    right = sound(1, 0.5, rate=22050)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 22050)
    place = tmp_path if in_folder else tmp_path / "a.wav"
    for channel, expected in ((-1, (left + right) / 2), (0, left), (1, right)):
        items = list(reader_of(machine(place, channel=channel))[0](Looks()))
        blocks = [item for item in items if isinstance(item, Sound)]
        assert {block.rate for block in blocks} == {22050}
        heard = np.concatenate([block.wave for block in blocks])
        np.testing.assert_allclose(heard, expected, rtol=0, atol=2 / 32768)
    if in_folder:
        (item,) = reader_of(machine(place, channel=2))[0](Looks())
        assert item.event == "unreadable" and "no channel 2" in item.message
    else:
        with pytest.raises(InputError, match="a.wav: no channel 2 of 2"):
            list(reader_of(machine(place, channel=2))[0](Looks()))


def test_recordings_of_a_folder_come_in_the_order_of_their_changes_each_once(tmp_path):
    place = tmp_path / "in"

    def record(name, moment):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / name, sound(0, 0.1), RATE)
        os.utime(place / name, (moment, moment))

    record("z.wav", 1e9)
    record("below/a.wav", 1e9 + 60)
    record("b.wav", 1e9 + 30)
    record("a.wav", 1e9 + 30)
    stop = Looks(
        lambda: None,
        lambda: record("b.wav", 1e9 + 90),  # read when it has not changed for a second
        lambda: None,
        (place / "z.wav").unlink,
        lambda: record("z.wav", 1e9),  # a removed recording that is there again is a new one
        lambda: None,
    )
    found = [(item.file, item.ended) for item in reader_of(machine(place))[0](stop)]
    assert found == [
        ("z.wav", 1e9), ("a.wav", 1e9 + 30), ("b.wav", 1e9 + 30), ("below/a.wav", 1e9 + 60),
        ("b.wav", 1e9 + 90),
        ("z.wav", 1e9),
    ]  # fmt: skip
    assert set(stop.waited) == {1.0}


def test_the_store_forgets_recordings_that_are_removed(tmp_path):
    place = tmp_path / "in"
    place.mkdir()

    def record(name):
        soundfile.write(place / f"{name}.wav", sound(0, 0.1), RATE)
        os.utime(place / f"{name}.wav", (1e9, 1e9))

    for name in "abc":
        record(name)
    with Store(tmp_path / "s.db") as store:
        store.set_read("pump", "c.wav", 10**15)  # by an earlier process
        known = []

        def remove(name):
            store.set_read("pump", "b.wav", 10**15)  # by the watcher, when its windows are scored
            (place / f"{name}.wav").unlink()

        stop = Looks(
            lambda: remove("b"),
            lambda: known.append(set(store.read_files("pump"))),
            lambda: remove("c"),
            lambda: record("c"),
            lambda: None,
        )
        found = [item.file for item in reader_of(machine(place), store)[0](stop)]
        assert known == [{"c.wav"}] and found == ["a.wav", "b.wav", "c.wav"]


def test_recordings_of_a_folder_are_timed_by_their_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(0, 1.0), RATE)
    os.utime(tmp_path / "a.wav", (1e9, 1e9))
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    os.utime(tmp_path / "b.wav", (1e9 + 1, 1e9 + 1))
    one, bad = reader_of(machine(tmp_path))[0](Looks())
    assert (one.ended, one.file, bad.event) == (1e9, "a.wav", "unreadable")
    with Store(tmp_path / "s.db") as store:
        store.set_read("pump", "a.wav", 10**15)
        # What cannot be read is told once, also after a restart.
        for told in (["unreadable"], []):
            found = list(reader_of(machine(tmp_path), store)[0](Looks()))
            assert [item.event for item in found] == told
        assert store.read_files("pump") == {"a.wav": 10**15, "b.wav": 10**15 + 10**6}


def test_recordings_that_were_read_are_not_read_again_by_the_next_process(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    for name, moment in (("a", 1e9), ("b", 1e9 + 60)):
        soundfile.write(place / f"{name}.wav", sound(0, 0.1), RATE)
        os.utime(place / f"{name}.wav", (moment, moment))
    with Store(tmp_path / "s.db") as store:

        def process():
            return [item.file for item in reader_of(machine(place), store)[0](Looks())]

        assert process() == ["a.wav", "b.wav"]
        # Only what was scored is known as read; a recording that changed is another one.
        store.set_read("pump", "a.wav", round(1e6 * 1e9))
        assert process() == ["b.wav"]
        store.set_read("pump", "b.wav", round(1e6 * (1e9 + 60)))
        os.utime(place / "a.wav", (2e9, 2e9))
        (place / "b.wav").unlink()
        assert process() == ["a.wav"]
        assert set(store.read_files("pump")) == {"a.wav"}


def test_an_empty_folder_forgets_nothing_as_it_may_be_a_share_that_is_not_mounted(tmp_path):
    with Store(tmp_path / "s.db") as store:
        store.set_read("pump", "a.wav", 1)
        (tmp_path / "in").mkdir()
        assert list(reader_of(machine(tmp_path / "in"), store)[0](Looks())) == []
        assert store.read_files("pump") == {"a.wav": 1}
