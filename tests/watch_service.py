"""What the watch service meets in tests: a real MQTT broker, an MQTT client, a network stream."""

import contextlib
import http.server
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import types

import av
import numpy as np
import paho.mqtt.client as paho
import requests
import soundfile
import uvicorn
from machine_sound import RATE, sound

from asd_jax.service import watcher
from asd_jax.service.api import application
from asd_jax.service.configuration import Machine, read_configuration
from asd_jax.service.connections import TimedProtocol
from asd_jax.service.service import Service
from asd_jax.service.sources import Sound

TOKEN = "0123456789abcdef"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
_AMQTT = """
listeners: {{default: {{type: tcp, bind: "127.0.0.1:{port}"}}}}
plugins: {{amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}}}
"""
_MOSQUITTO = "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def until(true, seconds=60.0):
    """Returns the first true value of a function, which may not be able to connect yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := true():
                return found
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s")


MACHINES = """
[web]
token_file = "token"
upload_mb = 1.0
upload_seconds = 20
[[machine]]
name = "pump"
detector = "pump.detector"
source = "sound.wav"
[[machine]]
name = "fan"
detector = "pump.detector"
source = "http://127.0.0.1:1/"
"""


def machine(source, **more):
    """Returns a machine that is heard through this source."""
    return Machine(name="pump", detector="d", source=str(source), **more)


MACHINE = machine("-")


class Clock:
    """The time on the wall, which can be set, and the steady one; the watcher has no other."""

    def __init__(self):
        self.wall = 1.7e9
        self.steady = 0.0

    def pass_by(self, seconds):
        self.wall += seconds
        self.steady += seconds

    @property
    def both(self):
        """Returns the clocks of a watcher, which read this time."""
        return watcher.Clock(lambda: self.wall, lambda: self.steady)


def play(watcher, clock, wave):
    """Has a watcher take and score some sound, as time passes."""
    clock.pass_by(len(wave) / RATE)
    watcher.take(Sound(wave, RATE, clock.wall))
    score_all(watcher)
    watcher.tick()


def score_all(watcher):
    """Scores all that waits, and returns how much that was."""
    for count in range(100):
        if not watcher.score_next():
            return count
    raise AssertionError("there is no end")


def soon(function, *arguments):
    """Returns what a function returns, which may take 5 s at most."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments)), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "there is no end"
    return found[0]


def kinds(watcher):
    """Returns the kinds of the events that a watcher recorded."""
    return [event["event"] for event in watcher.recorder.store.events()]


def write_service(folder, detector):
    """Writes what MACHINES names: a detector, a recording in which the pump fails, and a token."""
    detector.save(folder / "pump.detector")
    healthy = [sound(seed, 1.0) for seed in range(6)]
    faulty = [sound(seed, 1.0, fault=0.3) for seed in range(6)]
    soundfile.write(folder / "sound.wav", np.concatenate([*healthy, *faulty]), RATE)
    (folder / "token").write_text(TOKEN)
    (folder / "machines.toml").write_text(MACHINES)
    return folder


def serve_an_alarm(folder):
    """Returns a service that has announced the alarm of its pump."""
    served = Served(folder, MACHINES)
    until(lambda: any(case["announced"] for case in served.get("/api/alarms").json()))
    return served


class Served:
    """A service and its web server, in threads."""

    def __init__(self, folder, text):
        (folder / "machines.toml").write_text(text)
        self.service = Service(read_configuration(folder / "machines.toml"))
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        app = application(self.service)
        config = uvicorn.Config(app, http=TimedProtocol, limit_concurrency=64, log_level="error")
        self.server = uvicorn.Server(config)
        self.service.start(lambda: None)
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()

    def get(self, path):
        return requests.get(self.address + path, headers=AUTHORIZED, timeout=5)

    def post(self, path, content=b"", **more):
        return requests.post(self.address + path, content, headers=AUTHORIZED | more, timeout=20)

    def end(self):
        self.server.should_exit = True
        self.thread.join(10)
        self.service.end()


class Broker:
    """mosquitto where it is installed, else amqtt; a process that can be stopped and started."""

    def __init__(self, folder):
        self.port = free_port()
        self.folder = folder
        self.process = None

    def start(self):
        path = "/usr/sbin:" + os.environ.get("PATH", "")
        mosquitto = shutil.which("mosquitto", path=path)
        config = self.folder / "broker.conf"
        config.write_text((_MOSQUITTO if mosquitto else _AMQTT).format(port=self.port))
        amqtt = [sys.executable, "-m", "amqtt.scripts.broker_script"]
        self.process = subprocess.Popen(
            [*([mosquitto] if mosquitto else amqtt), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(answers)
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Listener:
    """An MQTT client that keeps what it receives, with the time."""

    def __init__(self, port, name="listener"):
        self.messages = []
        subscribed = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        self.client.on_connect = lambda client, *_: client.subscribe("#", 2)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = lambda client, data, message: self.messages.append(
            (time.monotonic(), message)
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(5)

    def of(self, topic):
        return [message.payload.decode() for _, message in self.messages if message.topic == topic]

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


class Radio:
    """A network stream of a machine's sound at its own speed, which can stall and break off.

    Attributes:
        address: of the stream.
        fault: amplitude of the machine's whistle.
        stalled: whether the connection stays but nothing is sent.
        refusing: whether connections end, and further ones are refused.
    """

    def __init__(self, form="wav"):
        self.form = form
        self.fault = 0.0
        self.stalled = False
        self.refusing = False
        handler = _rtsp_handler(self) if form == "rtsp" else _http_handler(self)
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        scheme = "rtsp" if form == "rtsp" else "http"
        self.address = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def blocks(self, step):
        """Yields `step` seconds of int16 samples at a time, at their own speed."""
        began = time.monotonic()
        sent = 0
        while not self.refusing:
            while self.stalled and not self.refusing:
                time.sleep(0.05)
            second, place = divmod(round(sent * step * RATE), RATE)
            wave = sound(second, 1.0, fault=self.fault)[place : place + round(step * RATE)]
            yield (wave * 32767).astype("<i2")
            sent += 1
            time.sleep(max(0.0, began + sent * step - time.monotonic()))

    def end(self):
        self.stalled = False
        self.refusing = True
        self.server.shutdown()
        self.server.server_close()


def _http_handler(radio):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if radio.refusing:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", f"audio/{radio.form}")
            self.end_headers()
            with contextlib.suppress(OSError):  # the client is gone
                (_send_wav if radio.form == "wav" else _send_encoded)(radio, self.wfile)

        def log_message(self, *_):
            pass

    return Handler


def _send_wav(radio, file):
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    endless = 0xFFFFFFFF
    file.write(struct.pack("<4sI4s", b"RIFF", endless, b"WAVE") + form)
    file.write(struct.pack("<4sI", b"data", endless))
    for block in radio.blocks(0.25):
        file.write(block.tobytes())


def _send_encoded(radio, file):
    """Sends mp3, or Opus in Ogg, as a web radio does."""
    codec = {"mp3": "libmp3lame", "ogg": "libopus"}[radio.form]
    options = {"write_xing": "0", "flush_packets": "1"}
    if radio.form == "ogg":
        options = {"page_duration": "200000", "flush_packets": "1"}
    unseekable = types.SimpleNamespace(write=file.write)
    container = av.open(unseekable, "w", format=radio.form, options=options)
    stream = container.add_stream(codec, rate=RATE, layout="mono")
    for number, block in enumerate(radio.blocks(0.25)):
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = number * len(block)
        container.mux(stream.encode(frame))


def _rtsp_handler(radio):
    """Returns a handler of RTSP 1.0 with RTP within its connection (RFC 2326, 10.12; RFC 3551)."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while (head := self._head()) and not radio.refusing:
                method = head[0].split()[0]
                headers = dict(line.split(": ", 1) for line in head[1:])
                number = headers["CSeq"]
                if method == "OPTIONS":
                    self._answer(number, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
                elif method == "DESCRIBE":
                    self._answer(number, "Content-Type: application/sdp", body=_SDP)
                elif method == "SETUP":
                    assert "interleaved=0-1" in headers["Transport"]
                    said = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
                    self._answer(number, said, "Session: 1")
                elif method == "PLAY":
                    self._answer(number, "Session: 1")
                    with contextlib.suppress(OSError):  # the client is gone
                        self._play()
                    return

        def _head(self):
            lines = iter(lambda: self.rfile.readline().decode().strip(), "")
            return list(lines)

        def _answer(self, number, *headers, body=""):
            lines = ["RTSP/1.0 200 OK", f"CSeq: {number}", *headers]
            lines += [f"Content-Length: {len(body)}"] if body else []
            self.wfile.write("\r\n".join([*lines, "", body]).encode())

        def _play(self):
            samples = 0
            for number, block in enumerate(radio.blocks(0.02)):
                packet = struct.pack(">BBHII", 0x80, 96, number % 65536, samples, 1)
                packet += block.astype(">i2").tobytes()
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                samples += len(block)

    return Handler


_SDP = f"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=a machine
t=0 0
m=audio 0 RTP/AVP 96
a=rtpmap:96 L16/{RATE}/1
a=control:track
""".replace("\n", "\r\n")


class Process:
    """asd_jax.serve as a process of its own.

    Attributes:
        address: of the web page.
        folder: of the configuration; its state lies in the folder "state".
    """

    def __init__(self, folder, machines, more="", **options):
        self.folder = folder
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        (folder / "token").write_text(TOKEN)
        (folder / "machines.toml").write_text(
            f'{more}\n[web]\nport = {port}\ntoken_file = "token"\nupload_seconds = 900\n'
            + "".join(
                f'[[machine]]\nname = "{name}"\ndetector = "pump.detector"\nsource = "{source}"\n'
                "hold_seconds = 2\n"
                for name, source in machines.items()
            )
        )
        self.options = options
        self.start()

    def start(self):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asd_jax.serve", f"--config={self.folder / 'machines.toml'}"],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "errors.txt").open("w"),
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            **self.options,
        )

    def get(self, path):
        return requests.get(self.address + path, headers=AUTHORIZED, timeout=5)

    def state(self, machine):
        return self.get(f"/api/machines/{machine}").json()

    def end(self, signal=15):
        self.process.send_signal(signal)
        return self.process.wait(30)
