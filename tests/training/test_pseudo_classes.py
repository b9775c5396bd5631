import dataclasses

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime import processes
from asd_jax.training.embedding import Batching
from asd_jax.training.pseudo_classes import (
    frozen_embedder,
    ward_clusters,
    with_pseudo_classes,
    without_attributes,
)
from asd_jax.training.weights import Pipeline

CLIPS = [
    Window(
        f"{n}",
        "fan" if n < 6 else "gearbox",
        "00",
        "train",
        "source",
        0,
        "A" if n == 7 else "",
        samples=4000,
    )
    for n in range(9)
]
ENCODER = EncoderConfig(FrontEnd(simam=SimAM("none")), None)


def read(clip):
    """Two kinds of sound, by turns."""
    noise = np.random.default_rng(int(clip.path)).normal(size=4000)
    return (np.diff(noise, prepend=0) if int(clip.path) % 2 else np.cumsum(noise) / 20).astype(
        np.float32
    )


def embedder(read):
    return frozen_embedder(Pipeline(ENCODER, {}), read, Batching(4), np.float32)


def test_clusters_are_those_of_scikit_learns_ward_linkage():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(40, 2, 8)) + 3 * rng.integers(0, 3, (40, 1, 1))).astype(np.float32)
    ours = ward_clusters(vectors, 5)
    rows = vectors.reshape(40, -1).astype(np.float64)
    theirs = AgglomerativeClustering(5).fit_predict(
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
    )
    assert len(set(zip(ours, theirs, strict=True))) == 5
    assert ours[0] == 0 and sorted(set(ours)) == list(range(5))


@pytest.mark.parametrize("clips", [1, 2])
def test_fewer_clips_than_clusters(clips):
    assert ward_clusters(np.eye(clips, 4, dtype=np.float32), 5).tolist() == list(range(clips))


def test_only_machines_wholly_without_attributes_get_classes(tmp_path):
    assert without_attributes(CLIPS) == {"fan 00": list(range(6))}
    named = with_pseudo_classes(CLIPS, embedder(read), clusters=2, path=tmp_path / "p.json")
    assert [clip.attribute for clip in named] == ["pseudo_0", "pseudo_1"] * 3 + ["", "A", ""]
    assert [dataclasses.replace(clip, attribute="") for clip in named[:6]] == CLIPS[:6]


def unread(clip):
    raise AssertionError("nothing is to be read")


def test_processes_meet_as_often_whether_or_not_they_find_the_file(tmp_path, monkeypatch):
    met = []
    monkeypatch.setattr(processes, "wait", lambda: met.append(1))
    for _ in range(2):
        with_pseudo_classes(CLIPS, embedder(read), clusters=2, path=tmp_path / "p.json")
    assert len(met) == 4  # before any has written, and after


def test_a_continued_run_keeps_its_classes(tmp_path):
    (tmp_path / "p.json").write_text('{"fan 00": [0, 0, 1, 0, 0, 2]}')
    named = with_pseudo_classes(CLIPS, embedder(unread), clusters=3, path=tmp_path / "p.json")
    assert [clip.attribute for clip in named[:6]] == [f"pseudo_{n}" for n in (0, 0, 1, 0, 0, 2)]
