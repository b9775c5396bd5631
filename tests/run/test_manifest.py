"""What files were made of: a file counts only as long as it and its sources are unchanged."""

import json
import os

import pytest
from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.data.clips import Clip
from asd_jax.run.manifest import Manifest, check_unchanged, provenance_hash, recording_stamps
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
