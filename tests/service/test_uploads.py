"""Claims about recordings and forms that clients send, with a real HTTP client."""

import errno
import socket
import time

import pytest
import soundfile
from machine_sound import RATE, sound


def test_a_recording_that_is_sent_is_scored_as_by_the_detector(served, tmp_path, plain_detector):
    soundfile.write(tmp_path / "clip.wav", sound(3, 2.0), RATE)
    post = served.post("/api/machines/pump/score", (tmp_path / "clip.wav").read_bytes())
    assert post.json()["score"] == pytest.approx(plain_detector.score(sound(3, 2.0)), abs=1e-2)
    assert post.json()["is_anomaly"] is False


@pytest.mark.parametrize(
    "content, status, text",
    [
        (b"x" * 1_000_001, 413, "1000000 bytes"),
        (b"no sound", 400, "the recording: "),
        (iter([b"x" * 600_000] * 2), 413, "1000000 bytes"),
    ],
    ids=["large", "no sound", "large, of unknown size"],
)
def test_what_cannot_be_scored_is_refused(served, content, status, text):
    post = served.post("/api/machines/pump/score", content)
    assert post.status_code == status and text in post.text


def test_a_form_that_comes_too_slowly_is_refused(served, monkeypatch):
    monkeypatch.setattr("asd_jax.service.uploads.FORM_SECONDS", 0.2)
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
    assert post.status_code == 507 and "No space left on device" in post.text
