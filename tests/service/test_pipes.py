"""Claims about sound from other programs."""

import contextlib
import io
import os
import threading
import time
import types

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import machine

from asd_jax.detector.stream import Event
from asd_jax.runtime.errors import InputError
from asd_jax.service import pipes
from asd_jax.service.readers import reader_of
from asd_jax.service.sources import Sound, SourceLost, listen


@pytest.fixture
def arecord(tmp_path, monkeypatch):
    """Returns a function that puts a script in the place of arecord; its folder is $HERE."""

    def arecord(*lines):
        script = tmp_path / "arecord"
        script.write_text("\n".join(["#!/bin/sh", f"HERE={tmp_path}", *lines]) + "\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return arecord


def heard(items):
    """Returns the samples of blocks of sound."""
    return np.concatenate([item.wave for item in items if isinstance(item, Sound)])


def test_alsa_is_heard_through_arecord_and_told_when_it_ends(tmp_path, arecord):
    wave = (sound(0, 1.0) * 32767).astype("<i2")
    (tmp_path / "raw").write_bytes(wave.tobytes())
    arecord(
        'echo "$@" > $HERE/said',
        "cat $HERE/raw",
        "sleep 0.6",  # a pause longer than a look, shorter than a stall
        "cat $HERE/raw",
        'printf "overrun\\n\\377 no card\\n" >&2',
    )
    began = time.time()
    read, live = reader_of(machine("alsa:hw:1,0"))
    blocks = []
    with pytest.raises(SourceLost, match=r"^arecord has ended \(\ufffd no card\)$"):
        for item in read(threading.Event()):
            blocks.append(item)
    expected = np.tile(wave / np.float32(32768), 2)
    assert live and np.array_equal(heard(blocks), expected)
    assert {block.rate for block in blocks} == {16000}
    times = [block.ended for block in blocks]
    assert times == sorted(times) and began <= times[0] <= times[-1] - 0.5 <= time.time()
    # A block has one time, so it must be short: 16 KiB are half a second.
    assert max(len(block.wave) for block in blocks) <= 8192
    said = (tmp_path / "said").read_text().split()
    assert said == "-q -D hw:1,0 -t raw -f S16_LE -r 16000 -c 1".split()


def test_the_format_of_a_sound_card_is_that_of_the_configuration(tmp_path, arecord):
    arecord('echo "$@" > $HERE/said')
    of = machine("alsa:", encoding="s24le", rate=48000, channels=2)
    with pytest.raises(SourceLost, match=r"\(no message\)"):
        list(pipes.alsa(of)(threading.Event()))
    said = (tmp_path / "said").read_text().split()
    assert said == "-q -D default -t raw -f S24_3LE -r 48000 -c 2".split()


def test_a_computer_without_arecord_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(pipes.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="alsa:hw:1: arecord is missing .*alsa-utils"):
        pipes.alsa(machine("alsa:hw:1"))


def test_a_sound_card_is_let_go_when_the_service_ends(tmp_path, arecord):
    (tmp_path / "raw").write_bytes(bytes(32000))
    arecord("cat $HERE/raw", "exec sleep 10")
    stop = threading.Event()
    began = time.monotonic()
    for item in pipes.alsa(machine("alsa:hw:1"))(stop):
        assert isinstance(item, Sound)
        stop.set()
    assert time.monotonic() - began < 5


def test_five_seconds_without_sound_are_a_stall(arecord, monkeypatch):
    arecord("exec sleep 10")
    now = [0.0]

    def select(*_):
        now[0] += _[3]
        return [], [], []

    monkeypatch.setattr(pipes.select, "select", select)
    monkeypatch.setattr(pipes, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(SourceLost, match="alsa:hw:1: no sound for 5 s"):
        list(pipes.alsa(machine("alsa:hw:1"))(threading.Event()))
    assert now == [5.0]


@pytest.fixture
def standard_input(monkeypatch):
    """Returns a function that makes bytes the standard input."""
    with contextlib.ExitStack() as files:

        def standard_input(content):
            number, end = os.pipe()
            files.enter_context(os.fdopen(number, "rb", closefd=True))
            monkeypatch.setattr(pipes.sys, "stdin", types.SimpleNamespace(fileno=lambda: number))
            os.write(end, content)
            os.close(end)
            stop = threading.Event()
            timer = threading.Timer(5, stop.set)  # no test waits for ever
            timer.daemon = True
            timer.start()
            files.callback(timer.cancel)
            return stop

        yield standard_input


def test_standard_input_is_heard_to_its_end(standard_input):
    pair = np.stack([sound(0, 0.2), sound(1, 0.2)], 1)
    raw = (pair * 32767).astype("<i2")
    values = raw / np.float32(32768)
    for channel, expected in ((-1, values.mean(1)), (0, values[:, 0]), (1, values[:, 1])):
        of = machine("-", channels=2, channel=channel, rate=8000)
        *blocks, end = pipes.standard_input(of)(standard_input(raw.tobytes()))
        np.testing.assert_allclose(heard(blocks), expected, rtol=0, atol=1e-7)
        assert {block.rate for block in blocks} == {8000}
        assert end == Event("ended", "standard input has ended")
    with pytest.raises(InputError, match="^machine pump: no channel 2 among 2"):
        list(
            pipes.standard_input(machine("-", channels=2, channel=2))(standard_input(raw.tobytes()))
        )


def test_what_remains_of_standard_input_is_told_at_its_end(standard_input):
    file = io.BytesIO()
    soundfile.write(file, sound(0, 0.2), RATE, format="WAV")
    *blocks, cut, end = pipes.standard_input(machine("-"))(standard_input(file.getvalue()[:-100]))
    assert len(heard(blocks)) == 3150 and (cut.event, end.event) == ("truncated", "ended")


def test_a_service_that_ends_does_not_report_the_end_of_standard_input(standard_input):
    stop = standard_input(bytes(32000))
    found = []
    for item in pipes.standard_input(machine("-"))(stop):
        found.append(item)
        stop.set()
    assert len(found) == 1 and isinstance(found[0], Sound)


def test_a_sound_card_that_is_unplugged_and_plugged_in_again_is_heard_again(tmp_path, arecord):
    (tmp_path / "raw").write_bytes((sound(0, 1.0) * 32767).astype("<i2").tobytes())
    arecord(
        "echo >> $HERE/calls",
        '[ "$(wc -l < $HERE/calls)" = 2 ] && { echo "No such device" >&2; exit 1; }',
        "cat $HERE/raw",
    )
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


def test_a_sound_card_that_hangs_is_lost(arecord):
    arecord("exec sleep 10")
    began = time.monotonic()
    with pytest.raises(SourceLost, match="no sound for 0.2 s"):
        list(pipes.alsa(machine("alsa:hw:1,0"), stalled=0.2)(threading.Event()))
    assert time.monotonic() - began < 2
