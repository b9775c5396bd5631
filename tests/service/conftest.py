"""A detector that was fitted to short sounds, and a real MQTT broker on this computer."""

import pytest
from machine_sound import RATE, sound
from watch_service import Broker

from asd_jax.detector.detector import Detector


@pytest.fixture(scope="session")
def plain_detector():
    return Detector.fit([sound(seed, 1.0) for seed in range(12)], RATE, weights=None)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()
