import dataclasses
import http.server
import os
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector.stream import Event
from asd_jax.monitoring.store import Store
from asd_jax.service import files, pipes, streams
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Sound, SourceLost, listen, reader_of


def machine(source, **more):
    return Machine(name="pump", detector="d", source=str(source), **more)


@dataclasses.dataclass
class Steps:
    """A source of which each attempt gives some blocks of sound and then fails."""

    blocks: list[int]
    seconds: float = 0.0  # of each block

    def __post_init__(self):
        self.now, self.stop, self.taken = 0.0, threading.Event(), []

    def read(self, stop):
        if not self.blocks:
            stop.set()
            return
        for _ in range(self.blocks.pop(0)):
            self.now += self.seconds
            yield Sound(np.ones(4, np.float32), 16000, 0.0)
        raise SourceLost("no route")

    def take(self, item):
        self.taken.append(getattr(item, "event", "sound"))


def test_a_source_that_fails_is_opened_again_and_its_loss_reported_once():
    steps = Steps([1, 0, 0, 2, 0])
    listen(steps.read, steps.take, steps.stop, first_wait=0.001)
    assert steps.taken == [
        "sound", "source_lost", "source_back", "sound", "sound", "source_lost",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "seconds, waits", [(1.0, [1, 2, 4, 8, 16]), (40.0, [1, 1, 1, 1, 1])], ids=["flaps", "works"]
)
def test_the_wait_begins_anew_only_after_a_source_has_worked_for_long(seconds, waits, monkeypatch):
    steps, waited = Steps([2] * 5, seconds), []
    monkeypatch.setattr(steps.stop, "wait", waited.append)
    listen(steps.read, steps.take, steps.stop, clock=lambda: steps.now)
    assert waited == waits


def test_a_fault_of_a_reader_does_not_end_the_watch(capsys):
    def read(stop):
        if not taken:
            raise ZeroDivisionError("a fault of a library")
        stop.set()
        yield Sound(np.ones(4, np.float32), 16000, 0.0)

    taken = []
    listen(read, taken.append, threading.Event(), first_wait=0.001)
    assert "ZeroDivisionError: a fault" in taken[0].message and isinstance(taken[-1], Sound)
    assert "a fault of a library" in capsys.readouterr().err


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


def test_alsa_is_heard_through_arecord_and_told_when_it_ends(tmp_path, monkeypatch):
    wave = (sound(0, 1.0) * 32767).astype("<i2")
    (tmp_path / "raw").write_bytes(wave.tobytes())
    arecord = tmp_path / "arecord"
    arecord.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/said\ncat {tmp_path}/raw\necho "no card" >&2\n'
    )
    arecord.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    read, live = reader_of(machine("alsa:hw:1,0"))
    blocks = []
    with pytest.raises(SourceLost, match="no card"):
        for item in read(threading.Event()):
            blocks.append(item.wave)
    assert live and np.array_equal(np.concatenate(blocks), wave / np.float32(32768))
    assert (tmp_path / "said").read_text().split()[:3] == ["-q", "-D", "hw:1,0"]


def test_a_sound_card_that_is_unplugged_and_plugged_in_again_is_heard_again(tmp_path, monkeypatch):
    (tmp_path / "raw").write_bytes((sound(0, 1.0) * 32767).astype("<i2").tobytes())
    arecord = tmp_path / "arecord"
    arecord.write_text(
        f"#!/bin/sh\necho >> {tmp_path}/calls\n"
        f'[ "$(wc -l < {tmp_path}/calls)" = 2 ] && {{ echo "No such device" >&2; exit 1; }}\n'
        f"cat {tmp_path}/raw\n"
    )
    arecord.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    stop, taken = threading.Event(), []

    def take(item):
        taken.append(item)
        if getattr(item, "event", "") == "source_back":
            stop.set()

    listen(pipes.alsa(machine("alsa:hw:1,0")), take, stop, first_wait=0.01)
    assert [item.event for item in taken if isinstance(item, Event)] == [
        "source_lost", "source_back",
    ]  # fmt: skip
    assert (tmp_path / "calls").read_text().count("\n") == 3


def test_a_sound_card_that_hangs_is_lost(tmp_path, monkeypatch):
    arecord = tmp_path / "arecord"
    arecord.write_text("#!/bin/sh\nexec sleep 10\n")
    arecord.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    began = time.monotonic()
    with pytest.raises(SourceLost, match="no sound for 0.2 s"):
        list(pipes.alsa(machine("alsa:hw:1,0"), stalled=0.2)(threading.Event()))
    assert time.monotonic() - began < 2


@pytest.fixture
def web_radio(tmp_path):
    """A server that sends a wav, and then either ends (/ends) or says no more (/stalls)."""
    soundfile.write(tmp_path / "a.wav", sound(0, 2.0), RATE)
    content = (tmp_path / "a.wav").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.end_headers()
            self.wfile.write(content)
            if self.path == "/stalls":
                time.sleep(3)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://name:secret@127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize("path", ["/ends", "/stalls"])
def test_a_stream_that_ends_or_stalls_is_lost_and_its_password_not_told(web_radio, path):
    blocks, began = [], time.monotonic()
    with pytest.raises(SourceLost) as error:
        for item in streams.stream(machine(web_radio + path), stalled=0.7)(threading.Event()):
            blocks.append(item.wave)
    assert time.monotonic() - began < 2.5 and "secret" not in str(error.value)
    heard = np.concatenate(blocks)
    assert np.abs(heard - sound(0, 2.0)[: len(heard)]).max() <= 2 / 32768 and len(heard) > RATE
