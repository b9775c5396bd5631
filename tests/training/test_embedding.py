"""Embedding on several devices: the same vectors in the same order."""

import jax
import numpy as np
import pytest

from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.training import embedding
from asd_jax.training.embedding import Batching, embed_windows
from asd_jax.training.mesh import AXES, own_devices, replicated
from asd_jax.training.weights import embed, random_eat

CONFIG = EncoderConfig(FrontEnd(simam=SimAM("local")), EATConfig(32, 1, 2), Pooling("mean", -1, 0))


@pytest.mark.slow
@pytest.mark.parametrize("count", [13, 1])
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


def windows_of(lengths):
    return [
        Window(f"{n}", "fan", "00", "test", "source", 0, "", 0, samples)
        for n, samples in enumerate(lengths)
    ]


def number_of(window):
    return np.full(window.samples, float(window.path), np.float32)


def test_a_batch_is_read_only_after_the_next_one_was_dispatched():
    events = []

    class Later:
        def __init__(self, values):
            self.number = len([event for event in events if event[0] == "dispatched"])
            self.values = values
            events.append(("dispatched", self.number))

        def __array__(self, dtype=None, copy=None):
            events.append(("read", self.number))
            return self.values

    def first_samples(batch):
        assert set(batch) == {"wave", "clip", "simam_mode"}
        return [Later(np.asarray(batch["wave"])[:, 0])]

    (rows,) = embed_windows(
        first_samples,
        windows_of([5] * 7),
        number_of,
        Batching(3),
        what="windows",
        extras={"simam_mode": 2},
    )
    assert rows.tolist() == list(range(7))
    assert events == [
        ("dispatched", 0),
        ("dispatched", 1),
        ("read", 0),
        ("dispatched", 2),
        ("read", 1),
        ("read", 2),
    ]


def test_each_length_has_batches_of_its_own_of_the_same_size():
    shapes = []

    def twice(batch):
        shapes.append(batch["wave"].shape)
        return batch["wave"][:, 0], 2 * batch["wave"][:, :1]

    windows = windows_of([8, 5, 8, 5, 5])
    once, doubled = embed_windows(twice, windows, number_of, Batching(2), what="windows")
    assert shapes == [(2, 5), (2, 5), (2, 8)]
    assert once.tolist() == [0, 1, 2, 3, 4] and doubled.tolist() == [[0], [2], [4], [6], [8]]
    assert (Batching().batch_size, Batching().mesh.size) == (32, 1)


@pytest.mark.parametrize("when", ["dispatched", "read"])
def test_a_lack_of_memory_says_which_batch_size_to_try(when):
    class Lacking:
        def __array__(self, dtype=None, copy=None):
            raise MemoryError

    def lacking(batch):
        if when == "dispatched":
            raise MemoryError
        return [Lacking()]

    with pytest.raises(InputError, match="batches of 6 clips; try `batch_size=3`"):
        embed_windows(lacking, windows_of([5]), number_of, Batching(6), what="windows")


def test_windows_are_read_by_as_many_threads_as_are_asked_for(monkeypatch):
    seen = []
    plain = embedding.clip_batches

    def recorded(*arguments, **options):
        seen.append(options)
        return plain(*arguments, **options)

    monkeypatch.setattr(embedding, "clip_batches", recorded)
    embed_windows(
        lambda batch: [batch["wave"]], windows_of([5]), number_of, Batching(3, 2), what="windows"
    )
    assert seen == [{"batch_size": 3, "threads": 2}] and Batching().threads == 4


def test_of_several_processes_each_embeds_an_equal_share(monkeypatch):
    """The last one repeats the first windows, whose rows are dropped again."""
    own = []
    monkeypatch.setattr(processes, "process_count", lambda: 3)

    def embedded(number, gather):
        monkeypatch.setattr(processes, "process_index", lambda: number)
        monkeypatch.setattr(processes, "gather", gather)
        windows = windows_of([5] * 7)
        return embed_windows(
            lambda batch: [np.asarray(batch["wave"])[:, 0]],
            windows,
            number_of,
            Batching(2),
            what="windows",
        )

    def kept(rows):
        own.append(rows.tolist())
        return np.resize(rows, 7)

    for number in range(3):
        embedded(number, kept)
    assert own == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    (rows,) = embedded(1, lambda rows: np.array(sum(own, [])))
    assert rows.tolist() == list(range(7))
