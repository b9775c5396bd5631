"""A detector that was fitted to short sounds, and a real MQTT broker on this computer."""

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import MACHINE, MACHINES, TOKEN, Broker, Clock, Served, until

from asd_jax.detector.detector import Detector
from asd_jax.monitoring.store import Store
from asd_jax.service.watcher import Watcher


@pytest.fixture(scope="session")
def plain_detector():
    return Detector.fit([sound(seed, 1.0) for seed in range(12)], RATE, weights=None)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watcher(plain_detector, tmp_path, clock):
    with Store(tmp_path / "s.db") as store:
        yield Watcher(
            MACHINE, plain_detector, store, clock=lambda: clock.wall, monotonic=lambda: clock.steady
        )


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, plain_detector):
    folder = tmp_path_factory.mktemp("service")
    plain_detector.save(folder / "pump.detector")
    healthy = [sound(seed, 1.0) for seed in range(6)]
    faulty = [sound(seed, 1.0, fault=0.3) for seed in range(6)]
    soundfile.write(folder / "sound.wav", np.concatenate([*healthy, *faulty]), RATE)
    (folder / "token").write_text(TOKEN)
    return folder


@pytest.fixture(scope="module")
def served(folder):
    """A service that has announced the alarm of its pump."""
    served = Served(folder, MACHINES)
    until(lambda: any(case["announced"] for case in served.get("/api/alarms").json()))
    yield served
    served.end()
