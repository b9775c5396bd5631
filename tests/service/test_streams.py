"""Claims about network streams of every kind that stall, break off and come back."""

import contextlib
import http.server
import threading
import time
import types

import av
import numpy as np
import pytest
import soundfile
from av.error import FFmpegError
from machine_sound import RATE, sound
from watch_service import Radio, machine, until

from asd_jax.runtime.errors import InputError
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


@pytest.fixture
def camera(monkeypatch):
    """Stands for a stream of two channels; what FFmpeg is asked for is in `asked`.

    Attributes:
        now: seconds since the stream was opened.
        pauses: seconds before each frame.
        values: of the samples of each channel.
        sounds: number of sound tracks.
        error: what reading ends with.
    """
    camera = types.SimpleNamespace(now=0.0, pauses=(0.1,) * 3, values=(0.5, -0.25), sounds=1)
    camera.error = None

    def decode(_):
        for pause in camera.pauses:
            camera.now += pause
            samples = np.repeat(np.float32(camera.values)[:, None], 480, 1)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate = 48000
            yield frame
        if camera.error:
            raise camera.error

    def open_(address, *, options, timeout):
        camera.asked = (address, options, timeout)
        tracks = types.SimpleNamespace(audio=[object()] * camera.sounds)
        return contextlib.nullcontext(types.SimpleNamespace(streams=tracks, decode=decode))

    clocks = types.SimpleNamespace(monotonic=lambda: camera.now, time=lambda: 1e9 + camera.now)
    monkeypatch.setattr(streams, "time", clocks)
    monkeypatch.setattr(streams.av, "open", open_)
    return camera


def read(source="rtsp://camera/1", stop=None, **settings):
    """Returns (blocks that a stream gives, why it was lost)."""
    blocks = []
    with pytest.raises(SourceLost) as error:
        for block in streams.stream(machine(source, **settings))(stop or threading.Event()):
            blocks.append(block)
    return blocks, str(error.value)


@pytest.mark.parametrize(
    ("source", "more"),
    [("rtsp://camera/1", {"rtsp_transport": "tcp"}), ("https://radio/1", {})],
)
def test_a_stream_loses_no_packets_starts_soon_and_stalls_after_five_seconds(camera, source, more):
    blocks, said = read(source)
    limits = {"analyzeduration": "1000000", "rw_timeout": "5000000"}
    assert camera.asked == (source, more | limits, (10.0, 5.0))
    assert said == f"{source}: the stream has ended"
    found = [(len(block.wave), block.rate, round(block.ended - 1e9, 3)) for block in blocks]
    assert found == [(480, 48000, 0.1), (480, 48000, 0.2), (480, 48000, 0.3)]


@pytest.mark.parametrize(
    ("channel", "values", "expected"),
    [
        (-1, (0.5, -0.25), 0.125),
        (0, (0.5, -0.25), 0.5),
        (1, (0.5, -0.25), -0.25),
        (0, (1.5, 0.0), 1.0),
        (0, (-1.5, 0.0), -1.0),
        (0, (np.nan, 0.0), 0.0),
    ],
)
def test_the_chosen_channel_is_heard_and_what_is_damaged_is_no_sound(
    camera, channel, values, expected
):
    camera.values = values
    blocks, _ = read(channel=channel)
    assert blocks[0].wave.dtype == np.float32
    assert set(np.concatenate([block.wave for block in blocks])) == {np.float32(expected)}


def test_a_channel_that_there_is_not_is_named(camera):
    with pytest.raises(InputError, match="^machine pump: no channel 2 of 2$"):
        next(streams.stream(machine("rtsp://camera/1", channel=2))(threading.Event()))


def test_sound_of_before_a_stall_is_no_sign_of_life(camera):
    camera.pauses = (0.1, 4.4, 4.5, 0.1)
    blocks, said = read()
    assert len(blocks) == 2 and said == "rtsp://camera/1: no sound for 5 s"


def test_a_stream_without_sound_and_one_that_fails_are_told_apart(camera):
    camera.error = FFmpegError(111, "Connection refused")
    assert read()[1] == "rtsp://camera/1: Connection refused"
    camera.error = FFmpegError(0, "")
    assert read()[1] == "rtsp://camera/1: FFmpegError"
    camera.sounds = 0
    assert read() == ([], "rtsp://camera/1: a stream without sound")


def test_a_stream_of_a_service_that_ends_is_left_without_a_word(camera):
    stop = threading.Event()
    found = []
    for block in streams.stream(machine("rtsp://camera/1"))(stop):
        found.append(block)
        stop.set()
    assert len(found) == 1


def test_an_address_is_told_without_what_is_secret_in_it():
    for address, told in (
        ("rtsp://ann:secret@camera:554/live/1?key=secret", "rtsp://camera:554/live/1"),
        ("http://camera/1", "http://camera/1"),
        ("http://ann:sec@ret@camera", "http://camera"),
    ):
        assert streams.without_password(address) == told
