"""Embedding on several devices: the same vectors in the same order."""

import jax
import numpy as np
import pytest

from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.training.embedding import Batching, embed_windows
from asd_jax.training.mesh import AXES, own_devices, replicated
from asd_jax.training.weights import embed, random_eat

CONFIG = EncoderConfig(FrontEnd(simam=SimAM("local")), EATConfig(32, 1, 2), Pooling("mean", -1, 0))


@pytest.mark.parametrize("count", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_one_two_and_eight_devices_give_the_same_vectors_in_the_same_order(count):
    heard = [
        Window(f"{n}", "fan", "00", "test", "source", 0, "", 0, (4000, 6000)[n % 3 == 0])
        for n in range(count)
    ]
    params = {"eat": random_eat(CONFIG.eat, 0)}
    found = {}

    def read(window):
        return (
            np.random.default_rng(int(window.path))
            .uniform(-0.1, 0.1, window.samples)
            .astype(np.float32)
        )

    with jax.default_device(None):
        every = own_devices().devices
        for devices in (1, 2, 8):
            mesh = jax.sharding.Mesh(every[:devices], AXES)
            own = replicated(mesh, params)
            found[devices] = embed_windows(
                lambda batch, own=own: embed(CONFIG, own, batch["wave"], batch["simam_mode"]),
                heard,
                read,
                Batching(4, threads=1, mesh=mesh),
                what="windows",
                extras={"simam_mode": 2},
            )
    alone = np.concatenate([embed(CONFIG, params, read(window)[None])[0] for window in heard])
    for vectors, _ in found.values():
        assert vectors.shape == (count, 32)
        assert np.abs(vectors - alone).max() < 1e-6 * np.abs(alone).max()  # 3.6e-7 measured
