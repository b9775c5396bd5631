import dataclasses

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.stacked import stacked


def embeddings(seed, width=4):
    split = np.array(["train"] * 20 + ["test"] * 10)
    rng = np.random.default_rng(seed)
    columns = {
        "files": np.array([f"{n:02}.wav" for n in range(30)]),
        "section": np.full(30, "00"),
        "split": split,
        "domain": np.full(30, "source"),
        "label": np.where(split == "train", 0, -1),
        "attribute": np.full(30, ""),
    }
    return Embeddings(rng.normal(size=(30, width)).astype(np.float32), **columns)


def test_the_score_is_the_mean_of_the_standardised_scores_of_each():
    one = embeddings(0)
    other = embeddings(1)
    found = score_machine(stacked({"near": one, "far": other}), Scoring(normalization="none")).score
    expected = np.zeros(10)
    for part in (one, other):
        unit = part.vectors / np.linalg.norm(part.vectors, axis=1, keepdims=True)
        distance = 1 - unit @ unit[:20].T
        own = np.where(np.eye(20, dtype=bool), np.inf, distance[:20]).min(1)
        expected += (distance[20:].min(1) - own.mean()) / own.std() / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)  # measured 4.8e-7: float32


def test_the_order_of_clips_does_not_matter():
    one = embeddings(0)
    other = embeddings(1)
    shuffled = other[np.random.default_rng(0).permutation(30)]
    np.testing.assert_array_equal(
        stacked({"a": one, "b": shuffled}).vectors, stacked({"a": one, "b": other}).vectors
    )


def test_the_bands_of_a_part_are_one_vector():
    one = embeddings(0)
    bands = one.vectors.reshape(30, 2, 2)
    banded = dataclasses.replace(one, vectors=bands, axes=("clip", "band", "embedding"))
    found = stacked({"a": banded, "b": embeddings(1)})
    assert found.axes == ("clip", "layer", "embedding") and found.vectors.shape == (30, 2, 4)
    np.testing.assert_array_equal(found.vectors, stacked({"a": one, "b": embeddings(1)}).vectors)


def test_windows_are_joined_in_order_of_their_start():
    starts = np.tile([0.0, 5.0], 15)
    files = np.repeat([f"{n:02}.wav" for n in range(15)], 2)
    one, other = (
        dataclasses.replace(embeddings(n), files=files, window_start_seconds=starts)
        for n in range(2)
    )
    order = np.random.default_rng(0).permutation(30)
    found = stacked({"a": one, "b": other[order]})
    plain = stacked({"a": one, "b": other})
    np.testing.assert_array_equal(found.vectors, plain.vectors)
    np.testing.assert_array_equal(found.window_start_seconds, plain.window_start_seconds)
    later = dataclasses.replace(other, window_start_seconds=starts + 1)
    with pytest.raises(InputError, match="^a and b must be of the same windows of the clips$"):
        stacked({"a": one, "b": later})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (embeddings(1)[np.arange(29)], "a and b must be of the same clips, but differ in files"),
        (embeddings(1, width=3), "must have one width, found 4 in a, 3 in b"),
        (
            dataclasses.replace(embeddings(1), window_start_seconds=np.zeros(30)),
            "the same windows",
        ),
        (stacked({"a": embeddings(0), "b": embeddings(1)}), "b: has layers already"),
    ],
)
def test_what_does_not_belong_together_is_said(other, said):
    with pytest.raises(InputError, match=said):
        stacked({"a": embeddings(0), "b": other})
