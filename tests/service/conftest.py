"""A detector that was fitted to short sounds, and a real MQTT broker on this computer."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector

AMQTT = """
listeners: {{default: {{type: tcp, bind: "127.0.0.1:{port}"}}}}
plugins: {{amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}}}
"""
MOSQUITTO = "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"


@pytest.fixture(scope="session")
def plain_detector():
    return Detector.fit([sound(seed, 1.0) for seed in range(12)], RATE, weights=None)


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


class Broker:
    """mosquitto where it is installed, else amqtt; a process that can be stopped and started."""

    def __init__(self, folder):
        self.port, self.folder, self.process = free_port(), folder, None

    def start(self):
        path = "/usr/sbin:" + os.environ.get("PATH", "")
        mosquitto = shutil.which("mosquitto", path=path)
        made = (MOSQUITTO if mosquitto else AMQTT).format(port=self.port)
        config = self.folder / "broker.conf"
        config.write_text(made)
        command = (
            [mosquitto] if mosquitto else [sys.executable, "-m", "amqtt.scripts.broker_script"]
        )
        self.process = subprocess.Popen(
            [*command, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.1)
        raise AssertionError("the broker does not start")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path).start()
    yield made
    made.stop()
