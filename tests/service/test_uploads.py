"""Claims about recordings and forms that clients send, with a real HTTP client."""

import contextlib
import errno
import functools
import io
import socket
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import TOKEN, until

from asd_jax.detector.rows import row
from asd_jax.service import uploads


def test_a_recording_that_is_sent_is_scored_as_by_the_detector(served, tmp_path, plain_detector):
    soundfile.write(tmp_path / "clip.wav", sound(3, 2.0), RATE)
    post = served.post("/api/machines/pump/score", (tmp_path / "clip.wav").read_bytes())
    assert post.json()["score"] == pytest.approx(plain_detector.score(sound(3, 2.0)), abs=1e-2)
    assert post.json()["is_anomaly"] is False
    names = row("", plain_detector.examine(sound(3, 2.0), RATE)).keys()
    assert post.json().keys() == names - {"file"}


def test_a_recording_may_be_as_long_as_the_configuration_says_and_no_longer(served):
    def answer(seconds):
        file = io.BytesIO()
        wave = np.resize(sound(3, 1.0), round(seconds * RATE))
        soundfile.write(file, wave, RATE, format="WAV")
        return served.post("/api/machines/pump/score", file.getvalue())

    assert answer(20.0).status_code == 200
    longer = answer(20.5)
    assert longer.status_code == 400 and "at most 20 s" in longer.json()["error"]


def test_a_third_recording_at_once_is_refused_and_told_to_come_again(served):
    head = (
        f"POST /api/machines/pump/score HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", served.port), 5))
            client.sendall(head)
        post = functools.partial(served.post, "/api/machines/pump/score", b"no sound")
        until(lambda: post().status_code == 429, 5)
        assert post().headers["retry-after"] == "5"
    until(lambda: post().status_code == 400, 5)


@pytest.mark.parametrize(
    "content, status, text",
    [
        (b"x" * 1_000_001, 413, "1000000 bytes"),
        (b"x" * 1_000_000, 400, "the recording: "),
        (b"no sound", 400, "the recording: "),
        (iter([b"x" * 600_000, b"x" * 400_001]), 413, "1000000 bytes"),
        (iter([b"x" * 600_000, b"x" * 400_000]), 400, "the recording: "),
    ],
    ids=["large", "nearly", "no sound", "large, of unknown size", "nearly, of unknown size"],
)
def test_what_cannot_be_scored_is_refused(served, content, status, text):
    post = served.post("/api/machines/pump/score", content)
    assert post.status_code == status and text in post.text


def test_a_form_that_comes_too_slowly_is_refused(served, monkeypatch):
    assert uploads.FORM_SECONDS == 5.0  # a person's browser sends it at once
    monkeypatch.setattr(uploads, "FORM_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", served.port), 5) as client:
        client.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        began = time.monotonic()
        assert b" 408 " in client.recv(1000) and time.monotonic() - began < 2


@pytest.mark.parametrize("at", ["NamedTemporaryFile", "write"])
def test_a_disk_that_keeps_no_recording_is_told_to_the_client(served, monkeypatch, at):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if at == "write":
        monkeypatch.setattr("asd_jax.service.uploads._receive", full)
    else:
        monkeypatch.setattr("asd_jax.service.uploads.tempfile.NamedTemporaryFile", full)
    post = served.post("/api/machines/pump/score", b"x")
    assert post.status_code == 507
    assert post.json() == {"detail": "cannot be kept (No space left on device)"}


def test_a_disk_that_gives_no_reason_is_told_as_it_is(served, monkeypatch):
    def odd(*_, **__):
        raise OSError("odd")

    monkeypatch.setattr("asd_jax.service.uploads._receive", odd)
    assert "cannot be kept (odd)" in served.post("/api/machines/pump/score", b"x").text
