"""Embeddings from anybody's file: what cannot be scored is refused where it is read."""

import dataclasses

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings


def columns(vectors):
    n = len(vectors)
    files = np.array([f"{k}.wav" for k in range(n)], dtype=str)
    text = {name: np.full(n, value) for name, value in (("section", "00"), ("split", "train"))}
    text |= {"domain": np.full(n, "source"), "attribute": np.full(n, "")}
    return {"vectors": vectors, "files": files, "label": np.zeros(n, np.int64), **text}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((4, 2), 1e300), "a value beyond float32"),
        (np.zeros((4, 0), np.float32), "without any value"),
        (np.zeros((4, 2), np.int64) + 10**18, ""),
    ],
)
def test_vectors_that_no_back_end_can_take_are_refused(tmp_path, vectors, message):
    np.savez(tmp_path / "fan.npz", **columns(vectors))
    if not message:
        assert Embeddings.load(tmp_path / "fan.npz").vectors.dtype == np.int64
        return
    with pytest.raises(InputError, match=f"fan.npz: .*{message}"):
        Embeddings.load(tmp_path / "fan.npz")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((88, 4), 1e300), "of section_00_0000.wav, or a value beyond float32"),
        (np.full((88, 4), np.nan), "NaN or infinity in the vector of section_00_0000.wav"),
        (np.full((88, 4), -(2.0**200)), "beyond float32"),
        (np.empty((88, 0)), r"vectors \(88, 0\), without any value"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(machine(), vectors=vectors)
