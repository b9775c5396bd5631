"""A detector that was fitted to short sounds, and a real MQTT broker on this computer."""

import pytest
from machine_sound import RATE, sound
from watch_service import MACHINE, Broker, Clock, serve_an_alarm, write_service

from asd_jax.detector.detector import Detector
from asd_jax.monitoring.store import Store
from asd_jax.service.configuration import read_configuration
from asd_jax.service.service import Service
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
        yield Watcher(MACHINE, plain_detector, store, clock=clock.both)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as store:
        yield store


@pytest.fixture(scope="session")
def folder(tmp_path_factory, plain_detector):
    return write_service(tmp_path_factory.mktemp("service"), plain_detector)


@pytest.fixture(scope="session")
def served(folder):
    """A service that has announced the alarm of its pump; one test alone acknowledges it."""
    served = serve_an_alarm(folder)
    yield served
    served.end()


@pytest.fixture
def service(tmp_path, plain_detector):
    """A service that has not been started."""
    write_service(tmp_path, plain_detector)
    service = Service(read_configuration(tmp_path / "machines.toml"))
    yield service
    service.close()
