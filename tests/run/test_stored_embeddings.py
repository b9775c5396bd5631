"""Embeddings of many machines that are read one at a time."""

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.run.stored_embeddings import StoredEmbeddings
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings


@pytest.fixture
def folder(tmp_path):
    machine(seed=1).save(tmp_path / "fan.npz")
    machine(seed=2, test=0).save(tmp_path / "valve.npz")
    return tmp_path


def test_machines_are_read_in_order_of_name_and_one_is_kept(folder, monkeypatch):
    read = []
    load = Embeddings.load
    monkeypatch.setattr(Embeddings, "load", lambda path: read.append(path.stem) or load(path))
    found = StoredEmbeddings(folder)
    assert list(found) == ["fan", "valve"] == read and len(found) == 2
    assert found["valve"] is found["valve"] and read == ["fan", "valve"]
    np.testing.assert_array_equal(found["fan"].vectors, machine(seed=1).vectors)
    assert read == ["fan", "valve", "fan"]


def test_machines_without_clips_of_a_split_are_left_out(folder):
    found = StoredEmbeddings(folder)
    assert list(found.only("test")) == ["fan"] and list(found.only("train")) == ["fan", "valve"]
    with pytest.raises(KeyError, match="valve"):
        found.only("test")["valve"]


def test_every_file_is_checked_before_any_is_used(folder):
    (folder / "motor.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"motor\.npz"):
        StoredEmbeddings(folder)
    with pytest.raises(InputError, match=r"no <machine>\.npz files here"):
        StoredEmbeddings(folder / "nowhere")
