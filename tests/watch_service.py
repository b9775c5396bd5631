"""What the watch service meets in tests: a real MQTT broker, an MQTT client, a network stream."""

import http.server
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

import paho.mqtt.client as paho
import requests
import uvicorn
from machine_sound import RATE, sound

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


MACHINE = Machine(name="pump", detector="d", source="-")


class Clock:
    """The time on the wall, which can be set, and the steady one; the watcher has no other."""

    def __init__(self):
        self.wall, self.steady = 1.7e9, 0.0

    def pass_by(self, seconds):
        self.wall += seconds
        self.steady += seconds


def play(watcher, clock, wave):
    """Has a watcher take and score some sound, as time passes."""
    clock.pass_by(len(wave) / RATE)
    watcher.take(Sound(wave, RATE, clock.wall))
    while watcher.score_next():
        pass
    watcher.tick()


def kinds(watcher):
    """Returns the kinds of the events that a watcher recorded."""
    return [event["event"] for event in watcher.recorder.store.events()]


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
        self.port, self.folder, self.process = free_port(), folder, None

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
        self.messages, subscribed = [], threading.Event()
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
        fault: amplitude of the machine's whistle.
        stalled: whether the connection stays but nothing is sent.
        refusing: whether connections are refused.
    """

    def __init__(self):
        self.fault, self.stalled, self.refusing = 0.0, False, False
        radio = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if radio.refusing:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                radio.send(self.wfile)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, file, step=0.25):
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        endless = 0xFFFFFFFF
        head = struct.pack("<4sI4s", b"RIFF", endless, b"WAVE") + form
        began, sent = time.monotonic(), 0
        try:
            file.write(head + struct.pack("<4sI", b"data", endless))
            while not self.refusing:
                while self.stalled:
                    time.sleep(0.05)
                wave = sound(sent // 4, 1.0, fault=self.fault)
                part = wave[int((sent % 4) * step * RATE) :][: int(step * RATE)]
                file.write((part * 32767).astype("<i2").tobytes())
                sent += 1
                time.sleep(max(0.0, began + sent * step - time.monotonic()))
        except OSError:  # the client is gone
            pass

    def end(self):
        self.stalled, self.refusing = False, True
        self.server.shutdown()


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
