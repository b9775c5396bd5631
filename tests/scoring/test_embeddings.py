"""Embeddings from anybody's file: what cannot be scored is refused where it is read."""

import dataclasses
import re

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings, check_clips


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


def clips(n=4, **changes):
    of = Embeddings(**columns(np.arange(2.0 * n).reshape(n, 2).astype(np.float32)))
    return dataclasses.replace(of, **changes)


def test_the_kinds_of_columns_that_a_file_may_have_are_accepted():
    for label in (np.zeros(4, np.uint8), np.zeros(4), np.zeros(4, bool)):
        assert clips(label=label).label is label
    assert clips(vectors=np.ones((4, 2), np.uint8)).vectors.dtype == np.uint8
    assert clips(window_start_seconds=np.arange(4)).starts.tolist() == [0, 1, 2, 3]
    assert clips().starts.tolist() == [0] * 4 and clips().clip.tolist() == [0, 1, 2, 3]
    # Of no clips, columns of any type.
    none = {name: np.empty(0) for name in ("files", "section", "split", "domain", "label")}
    assert len(clips(vectors=np.empty((0, 2)), attribute=np.empty(0), **none).files) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"axes": ("clip", "part")}, "axes ('clip', 'part'); known: ('clip', 'embedding'), ("),
        (
            {"axes": ("clip", "band", "embedding")},
            "axes ('clip', 'band', 'embedding') name 3 axes of vectors (4, 2)",
        ),
        ({"vectors": np.ones((4, 2), complex)}, "vectors of complex128, not real numbers"),
        ({"vectors": np.ones((4, 2), bool)}, "vectors of bool, not real numbers"),
        ({"files": np.arange(4)}, "files of int64 (4,), not text (n,)"),
        ({"section": np.full((4, 1), "00")}, "section of <U2 (4, 1), not text (n,)"),
        ({"label": np.full(4, "0")}, "label of <U1 (4,), not numbers (n,)"),
        ({"window_start_seconds": np.full(4, "0")}, "window_start_seconds of <U1 (4,), not numb"),
        ({"window_start_seconds": np.zeros(3)}, "4 vectors but 3 window_start_seconds"),
        ({"attribute": np.full(5, "")}, "4 vectors but 5 attribute"),
        ({"split": np.full(4, "dev")}, "split 'dev'; known: held_out, supplemental, test, train"),
        ({"domain": np.full(4, "")}, "domain ''; known: source, target, unknown"),
        ({"label": np.full(4, 2)}, "label 2; known: -1, 0, 1"),
    ],
)
def test_a_column_that_does_not_fit_is_named(change, said):
    with pytest.raises(InputError, match=f"^embeddings: {re.escape(said)}"):
        clips(**change)


def test_windows_of_one_name_are_of_one_section_of_their_split():
    change = {
        "files": np.array(["a.wav", "a.wav", "a.wav", "b.wav"]),
        "window_start_seconds": np.array([0.0, 1, 0, 0]),
        "split": np.array(["train", "train", "test", "test"]),
    }
    section = np.array(["00", "00", "01", "01"])
    assert clips(section=section, **change).clip.tolist() == [0, 0, 0, 1]
    said = (
        "embeddings: windows of a.wav in sections 00 and 01; windows of one name are of one clip, "
        "so names must differ"
    )
    with pytest.raises(InputError, match=f"^{said}$"):
        clips(section=np.array(["00", "01", "01", "01"]), **change)


def test_rows_keep_all_that_is_known_of_them():
    of = clips(
        vectors=np.ones((4, 3, 2)),
        axes=("clip", "layer", "embedding"),
        window_start_seconds=np.arange(4.0),
    )
    two = of[[3, 1]]
    assert two.files.tolist() == ["3.wav", "1.wav"] and two.axes == of.axes
    assert two.window_start_seconds.tolist() == [3, 1]
    bare = of.without_vectors()
    assert bare.vectors.shape == (4, 1) and bare.axes == ("clip", "embedding")
    assert bare.files is of.files and bare.window_start_seconds is of.window_start_seconds


def test_parts_are_joined_and_those_without_windows_start_at_0():
    windows = clips(2, window_start_seconds=np.array([0.0, 5.0]))
    both = Embeddings.joined([clips(1), windows])
    assert both.files.tolist() == ["0.wav", "0.wav", "1.wav"]
    assert both.window_start_seconds.tolist() == [0, 0, 5]
    assert both.vectors.tolist() == [[0, 1], [0, 1], [2, 3]]
    assert Embeddings.joined([clips(1), clips(2)]).window_start_seconds is None
    layered = clips(1, vectors=np.ones((1, 3, 2)), axes=("clip", "layer", "embedding"))
    assert Embeddings.joined([layered, layered]).axes == layered.axes


def test_a_file_holds_float32_and_whole_labels(tmp_path):
    of = clips(
        vectors=np.arange(24.0).reshape(4, 3, 2),
        axes=("clip", "band", "embedding"),
        label=np.array([0.0, 1, -1, 0]),
        window_start_seconds=np.arange(4),
        attribute=np.array(["", "speed_1", "", "\u00b5"]),
    )
    of.save(tmp_path / "fan.npz")
    again = Embeddings.load(tmp_path / "fan.npz")
    types = [again.vectors.dtype, again.label.dtype, again.window_start_seconds.dtype]
    assert types == [np.float32, np.int64, np.float64] and again.axes == of.axes
    for field in dataclasses.fields(of):
        assert np.array_equal(getattr(again, field.name), getattr(of, field.name))
    clips().save(tmp_path / "pump.npz")
    assert Embeddings.load(tmp_path / "pump.npz").window_start_seconds is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"section": np.array(["../00"] * 4)}, "section '../00' "),
        ({"files": np.array(["/etc/a", "b", "c", "d"])}, "path '/etc/a' "),
        ({"attribute": np.array(["", "", "a\nb" * 5000, ""])}, "attribute 'a"),
        ({"axes": np.array(["clip", "embedding", *["x"] * 9])}, "embeddings: axes ('clip', 'emb"),
    ],
)
def test_names_in_a_file_are_checked(tmp_path, change, said):
    path = tmp_path / "fan.npz"
    np.savez(path, **(columns(np.ones((4, 2), np.float32)) | change))
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {said}')}") as error:
        Embeddings.load(path)
    assert str(error.value).count("'x'") <= 2


def test_what_a_file_lacks_is_named(tmp_path):
    path = tmp_path / "fan.npz"
    of = columns(np.ones((4, 2), np.float32))
    del of["label"], of["attribute"]
    np.savez(path, **of)
    with pytest.raises(InputError, match="fan.npz: lacks attribute, label; see Embeddings for the"):
        Embeddings.load(path)


def test_an_anomaly_among_the_normal_clips_is_told():
    split = np.array(["train", "test", "held_out", "supplemental"])
    check_clips(clips(split=split, label=np.array([0, 1, -1, 1])))
    said = (
        "0.wav is labelled an anomaly (1) in split train, which is for normal sound only (2 such "
        "clips)"
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        check_clips(clips(split=split, label=np.array([1, 1, 1, 0])))


def test_two_clips_of_one_name_are_told_unless_they_are_windows():
    twice = {"files": np.array(["a/x.wav", "b/x.wav", "a/y.wav", "z.wav"])}
    check_clips(clips(split=np.array(["train", "test", "train", "train"]), **twice))
    with pytest.raises(InputError, match=r"^two train clips of one name, x\.wav, so scores cannot"):
        check_clips(clips(**twice))
    windows = {"files": np.array(["x.wav"] * 4), "window_start_seconds": np.arange(4.0)}
    check_clips(clips(**windows))
