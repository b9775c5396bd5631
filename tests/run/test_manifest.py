"""What files were made of: a file counts only as long as it and its sources are unchanged."""

import hashlib
import json
import os

import pytest
from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.data.clips import Clip
from asd_jax.run.manifest import (
    Manifest,
    check_unchanged,
    file_stamp,
    provenance_hash,
    recording_stamps,
    sha256_of,
    summarize_recordings,
)
from asd_jax.runtime.errors import InputError


@PROPERTY
@given(content=ANY_JSON)
def test_a_made_of_json_of_any_shape_counts_for_nothing(tmp_path, content):
    (tmp_path / "made_of.json").write_text(json.dumps(content))
    (tmp_path / "fan").write_text("embeddings")
    manifest = Manifest(tmp_path)
    assert not manifest.valid("fan", "settings") and not manifest.complete("settings")
    manifest.record(["fan"], "settings")
    assert Manifest(tmp_path).valid("fan", "settings")


def test_a_file_is_valid_until_it_or_what_it_was_made_of_changes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert not Manifest(tmp_path).complete("settings")  # nothing is recorded
    Manifest(tmp_path).record(["a", "b"], "settings")
    assert json.loads((tmp_path / "made_of.json").read_text()) == {
        name: {"made_of": "settings", "sha256": hashlib.sha256(name.encode()).hexdigest()}
        for name in ("a", "b")
    }
    assert Manifest(tmp_path).valid("a", "settings") is True
    assert Manifest(tmp_path).valid("a", "others") is False
    assert Manifest(tmp_path).complete("settings") and not Manifest(tmp_path).complete("others")
    (tmp_path / "b").write_text("c")
    assert Manifest(tmp_path).valid("a", "settings") and not Manifest(tmp_path).complete("settings")
    (tmp_path / "b").unlink()
    assert not Manifest(tmp_path).valid("b", "settings")


def test_embeddings_depend_on_settings_weights_and_recordings_but_not_on_their_folder(tmp_path):
    def made_of(folder, content="sound", settings="even", weights=(1,)):
        path = tmp_path / folder / "a.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        os.utime(path, ns=(0, 0))
        clip = Clip(str(path), "fan", "00", "train", "source", 0, "")
        return provenance_hash({"spacing": settings}, weights, [clip])

    assert made_of("here") == made_of("there")
    others = (
        made_of("x", content="noise!"),
        made_of("x", settings="mel"),
        made_of("x", weights=(2,)),
    )
    assert len({made_of("here"), *others}) == 4


def test_a_recording_that_changes_or_disappears_is_named(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("sound")
    clip = Clip(str(path), "fan", "00", "train", "source", 0, "")
    stamps = recording_stamps([clip])
    check_unchanged(clip.path, stamps[clip.path])
    path.write_text("other sound")
    with pytest.raises(InputError, match="a.wav: changed since the run began"):
        check_unchanged(clip.path, stamps[clip.path])
    path.unlink()
    with pytest.raises(InputError, match="a.wav: no such file any more"):
        check_unchanged(clip.path, stamps[clip.path])


def test_the_hash_of_a_value_is_that_of_its_json_with_sorted_keys():
    # Files of earlier versions stay valid as long as this stays.
    assert sha256_of({"b": 1, "a": [2]}) == hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()


def test_recordings_are_summarised_by_machine_whatever_their_order_folder_and_time(tmp_path):
    def clip_of(name, content="sound", machine="fan", split="train"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
        return Clip(str(path), machine, "00", split, "source", 0, "")

    clips = [clip_of("a.wav"), clip_of("b.wav"), clip_of("c.wav", machine="pump")]
    found = summarize_recordings(clips)
    assert {machine: own["clips"] for machine, own in found.items()} == {"fan": 2, "pump": 1}
    moved = [clip_of("far/b.wav"), clip_of("far/a.wav")]
    os.utime(tmp_path / "far" / "a.wav", ns=(0, 0))
    assert summarize_recordings(moved)["fan"] == found["fan"] != found["pump"]
    for other in (
        clip_of("loud/a.wav", "noise!"),
        clip_of("far/other.wav"),
        clip_of("test/a.wav", split="test"),
    ):
        assert summarize_recordings([moved[0], other])["fan"] != found["fan"]


def test_a_stamp_is_the_size_and_the_time_of_change(tmp_path):
    (tmp_path / "a.wav").write_text("sound")
    os.utime(tmp_path / "a.wav", ns=(3, 7))
    assert file_stamp(str(tmp_path / "a.wav")) == (5, 7)
