import dataclasses
import json

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.training import pseudo_classes
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


def test_a_vector_of_zeros_and_of_any_length_has_its_cluster():
    """Only the direction counts, and zeros have none."""
    vectors = np.array([[0.0, 0], [1e-3, 0], [5, 0], [0, 1e-3], [0, 9], [0, 0]], np.float32)
    assert ward_clusters(vectors, 3).tolist() == [0, 1, 1, 2, 2, 0]


def test_a_frozen_encoder_embeds_with_the_mode_of_the_machine(monkeypatch, capsys):
    encoder = EncoderConfig(FrontEnd(simam=SimAM({"fan": "local", "gearbox": "none"})), None)
    seen = []

    def recorded(config, params, wave, modes, dtype):
        seen.append((config, modes.tolist(), dtype))
        return wave[:, :1], None

    def embedded(embed, windows, read, batching, *, what, extras):
        batch = {"wave": np.ones((2, 3)), "simam_mode": np.full(2, extras["simam_mode"])}
        seen.append((windows, read, batching, what))
        return embed(batch)

    monkeypatch.setattr(pseudo_classes, "embed", recorded)
    monkeypatch.setattr(pseudo_classes, "embed_windows", embedded)
    batching = Batching(4)
    embed_clips = frozen_embedder(Pipeline(encoder, {}), read, batching, "bfloat16")
    for clips, mode in ((CLIPS[:1], 2), (CLIPS[6:8], 0)):
        seen.clear()
        assert embed_clips(clips, "clips embedded").tolist() == [[1], [1]]
        assert seen == [
            (clips, read, batching, "clips embedded"),
            (encoder, [mode, mode], "bfloat16"),
        ]


@pytest.mark.parametrize("content", ['{"fan 00": [0, 1]}', '{"fan 00": 3}', "{}"])
def test_the_classes_of_other_clips_are_refused(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match="p.json: not the classes of these clips; remove it"):
        with_pseudo_classes(CLIPS, embedder(unread), clusters=3, path=tmp_path / "p.json")
    # Of a single clip, too.
    with pytest.raises(InputError, match="p.json: not the classes of these clips"):
        with_pseudo_classes(CLIPS[:1], embedder(unread), clusters=3, path=tmp_path / "p.json")


def test_what_gets_classes_is_printed_and_clips_with_attributes_need_none(tmp_path, capsys):
    path = tmp_path / "p.json"
    asked = []

    def embed_clips(clips, what):
        asked.append(([clip.path for clip in clips], what))
        return np.eye(len(clips), 8)

    with_pseudo_classes(CLIPS, embed_clips, clusters=2, path=path)
    assert asked == [(list("012345"), "clips of fan 00 embedded")]
    assert "2 classes each: fan 00" in capsys.readouterr().out
    assert {*json.loads(path.read_text())} == {"fan 00"}
    path.unlink()
    assert with_pseudo_classes(CLIPS[7:8], embed_clips, clusters=2, path=path) == CLIPS[7:8]
    assert capsys.readouterr().out == "" and path.read_text().strip() == "{}"


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
