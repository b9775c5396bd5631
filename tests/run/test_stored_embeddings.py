"""Embeddings of many machines that are read one at a time."""

import re

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
    tested = found.only("test")
    assert len(tested) == 1 and tested.folder == folder
    np.testing.assert_array_equal(tested["fan"].vectors, machine(seed=1).vectors)
    assert found.splits == {"fan": {"train", "test"}, "valve": {"train"}}


def test_every_file_is_checked_before_any_is_used(folder):
    (folder / "motor.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"motor\.npz"):
        StoredEmbeddings(folder)
    with pytest.raises(InputError, match=r"no <machine>\.npz files here"):
        StoredEmbeddings(folder / "nowhere")


def test_snapshots_are_layers_beside_those_of_the_final_weights(folder):
    for n, step in enumerate(("step_1", "step_2")):
        machine(seed=5 + n).save(folder / "snapshots" / step / "fan.npz")
    found = StoredEmbeddings(folder)["fan"]
    assert found.axes == ("clip", "layer", "embedding") and found.vectors.shape[1] == 3
    alone = StoredEmbeddings(folder)["valve"]
    assert alone.axes == ("clip", "embedding")


def test_a_machine_whose_name_is_no_label_is_refused_with_its_folder(folder):
    (folder / "fan.npz").rename(folder / "fa\tn.npz")
    with pytest.raises(InputError, match=re.escape(str(folder))):
        StoredEmbeddings(folder)


def test_clips_that_are_listed_twice_are_refused_with_their_file(folder):
    fields = dict(np.load(folder / "fan.npz"))
    fields["files"][:] = fields["files"][0]
    np.savez(folder / "fan.npz", **fields)
    with pytest.raises(InputError, match=f"^{re.escape(str(folder))}: fan.npz: "):
        StoredEmbeddings(folder)
