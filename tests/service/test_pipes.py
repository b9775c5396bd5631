"""Claims about sound from other programs."""

import os
import threading
import time

import numpy as np
import pytest
from machine_sound import sound
from watch_service import machine

from asd_jax.detector.stream import Event
from asd_jax.service import pipes
from asd_jax.service.readers import reader_of
from asd_jax.service.sources import SourceLost, listen


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
    stop = threading.Event()
    taken = []

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
