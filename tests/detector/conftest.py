"""A small encoder with random weights, and detectors fitted with and without it."""

import pytest
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.training.weights import random_eat, save_encoder


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory):
    path, sizes = tmp_path_factory.mktemp("encoder") / "encoder.safetensors", EATConfig(32, 1, 2)
    config = EncoderConfig(FrontEnd("even", simam=SimAM("global")), sizes, Pooling("band_mean", -1, 0))
    save_encoder(path, config, {"eat": random_eat(sizes, 0)})
    return path


@pytest.fixture(scope="session")
def normal():
    return [sound(seed) for seed in range(24)]


@pytest.fixture(scope="session")
def detector(encoder_file, normal):
    return Detector.fit(normal, RATE, weights=encoder_file)


@pytest.fixture(scope="session")
def plain(normal):
    return Detector.fit(normal, RATE, weights=None)
