import http.server
import os
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.detector.stream import Event
from asd_jax.service import streams
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Lost, Sound, reader_of, reconnecting


def machine(source, **more):
    return Machine(name="pump", detector="d", source=str(source), **more)


def test_a_lost_source_is_opened_again_and_said_once_each_time():
    tries = []

    def read(stop):
        tries.append(1)
        if len(tries) < 4:
            raise Lost("no route")
        yield Sound(np.ones(4, np.float32), 16000, 0.0)

    found = list(reconnecting(read, threading.Event(), first_wait=0.01))
    assert [getattr(item, "event", "sound") for item in found] == [*["lost"] * 3, "found", "sound"]


def test_a_file_is_timed_from_its_beginning_and_ends(tmp_path):
    wave = sound(0, 1.0)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    read, live = reader_of(machine(tmp_path / "a.wav"))
    *blocks, end = list(read(threading.Event()))
    assert not live and end.event == "ended"
    heard = np.concatenate([block.wave for block in blocks])
    assert np.abs(heard - wave).max() <= 2 / 32768
    assert blocks[-1].ended - blocks[0].ended == pytest.approx(0.9, abs=1e-3)


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
    with pytest.raises(Lost, match="no card"):
        for item in read(threading.Event()):
            blocks.append(item.wave)
    assert live and np.array_equal(np.concatenate(blocks), wave / np.float32(32768))
    assert (tmp_path / "said").read_text().split()[:3] == ["-q", "-D", "hw:1,0"]


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
    with pytest.raises(Lost) as error:
        for item in streams.stream(machine(web_radio + path), stalled=0.7)(threading.Event()):
            blocks.append(item.wave)
    assert time.monotonic() - began < 2.5 and "secret" not in str(error.value)
    heard = np.concatenate(blocks)
    assert np.abs(heard - sound(0, 2.0)[: len(heard)]).max() <= 2 / 32768 and len(heard) > RATE
