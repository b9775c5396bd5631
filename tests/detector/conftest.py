"""Detectors fitted with and without an encoder."""

import pytest
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector


@pytest.fixture(scope="session")
def normal():
    return [sound(seed) for seed in range(24)]


@pytest.fixture(scope="session")
def detector(encoder_file, normal):
    return Detector.fit(normal, RATE, weights=encoder_file)


@pytest.fixture(scope="session")
def plain(normal):
    return Detector.fit(normal, RATE, weights=None)
