"""Claims about network streams of every kind that stall, break off and come back."""

import http.server
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import Radio, machine, until

from asd_jax.service import streams
from asd_jax.service.sources import Sound, SourceLost, listen


@pytest.mark.slow
@pytest.mark.parametrize("form", ["wav", "mp3", "ogg", "rtsp"])
def test_a_stream_that_stalls_and_breaks_off_is_opened_again_and_heard_as_it_was_sent(form):
    radio = Radio(form)
    stop = threading.Event()
    taken = []
    radio.fault = 0.3

    def heard():
        return sum(len(item.wave) for item in taken if isinstance(item, Sound))

    def events():
        return [item.event for item in taken if not isinstance(item, Sound)]

    read = streams.stream(machine(radio.address), stalled=1.0)
    options = {"first_wait": 0.1}
    thread = threading.Thread(target=listen, args=(read, taken.append, stop), kwargs=options)
    thread.start()
    try:
        until(lambda: heard() > 2 * RATE, 20)
        wave = np.concatenate([item.wave for item in taken])[-RATE:]
        assert taken[-1].rate in (RATE, 48000)  # Opus is always decoded to 48 kHz
        hz = np.fft.rfftfreq(len(wave), 1 / taken[-1].rate)
        assert abs(hz[np.abs(np.fft.rfft(wave)).argmax()] - 3150) < 5
        assert 0.25 < np.sqrt(2) * wave.std() < 0.35  # the amplitude of the whistle
        radio.stalled = True
        until(lambda: events() == ["source_lost"], 5)
        radio.stalled = False
        until(lambda: events() == ["source_lost", "source_back"], 10)
        radio.refusing = True
        until(lambda: events()[2:] == ["source_lost"], 5)
        radio.refusing = False
        until(lambda: events()[2:] == ["source_lost", "source_back"], 10)
    finally:
        stop.set()
        radio.end()
        thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def web_radio(tmp_path):
    """A server that sends a wav, and then either ends (/ends) or says no more (/stalls)."""
    soundfile.write(tmp_path / "a.wav", sound(0, 2.0), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.end_headers()
            self.wfile.write(content)
            if self.path == "/stalls":
                over.wait(30)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://name:secret@127.0.0.1:{server.server_address[1]}"
    over.set()
    server.shutdown()


@pytest.mark.parametrize("path", ["/ends", "/stalls"])
def test_a_stream_that_ends_or_stalls_is_lost_and_its_password_not_told(web_radio, path):
    blocks = []
    began = time.monotonic()
    with pytest.raises(SourceLost) as error:
        for item in streams.stream(machine(web_radio + path), stalled=0.7)(threading.Event()):
            blocks.append(item.wave)
    assert time.monotonic() - began < 10 and "secret" not in str(error.value)
    heard = np.concatenate(blocks)
    assert np.abs(heard - sound(0, 2.0)[: len(heard)]).max() <= 2 / 32768 and len(heard) > RATE
