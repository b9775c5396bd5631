"""A workdir that holds what no run wrote: a link, somebody's own files, JSON of another shape. Each
claim fails on 6710c64.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asd_jax.data.clips import Clip
from asd_jax.run.embed import SKIPPED, read_skipped
from asd_jax.run.kept_rows import KeptRows
from asd_jax.run.shards import remove_shards
from asd_jax.run.workdir import (
    LEFT,
    MOST_SEEDS,
    Provenance,
    claim_workdir,
    folders_of_seeds,
    lock_workdir,
    remove_run,
    seed_folders,
)
from asd_jax.runtime.errors import InputError

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["fan", "skipped", "file", "reason", "clips"]), inner)
    ),
    max_leaves=6,
)
PROPERTY = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def put(path, what):
    """Something of the user's in the place of a file of ours; what must stay as it is."""
    mine = path.parent / "mine"
    mine.write_text("precious")
    if what == "link":
        path.symlink_to("mine")
    elif what == "hard link":
        os.link(mine, path)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("my own lock")
    return mine


@pytest.mark.parametrize("what", ["link", "hard link", "folder", "pipe", "file"])
def test_what_stands_in_the_locks_place_is_neither_followed_nor_emptied(tmp_path, what):
    mine = put(tmp_path / ".lock", what)
    with pytest.raises(InputError, match="\\.lock is not ours"), lock_workdir(tmp_path):
        raise AssertionError
    assert mine.read_text() == "precious" and os.path.lexists(tmp_path / ".lock")
    assert what != "file" or (tmp_path / ".lock").read_text() == "my own lock"


@pytest.mark.parametrize("left", ["", "process 1 on a-host\n", "process 12 on ho"])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, left):
    (tmp_path / ".lock").write_text(left)
    with lock_workdir(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock").exists()


def test_overwriting_a_run_takes_a_link_and_leaves_what_it_names(tmp_path):
    for name in LEFT:
        far = tmp_path / "far" / name
        far.mkdir(parents=True)
        (far / "mine").write_text("precious")
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).symlink_to(far)
    remove_run(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    assert len(list((tmp_path / "far").glob("*/mine"))) == len(LEFT)


@pytest.mark.parametrize("seeds", ["4", 2.5, None, [1], True, 0, -1, 10**9, 10**400, {}])
def test_a_number_of_seeds_that_is_none_is_named(tmp_path, seeds):
    with pytest.raises(InputError, match="^seeds=.* must be a whole number from 1 to 1000"):
        folders_of_seeds(tmp_path, seeds)
    (tmp_path / "config.json").write_text(json.dumps({"seeds": seeds}))
    with pytest.raises(InputError, match="config.json"):
        seed_folders(tmp_path)
    remove_run(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_seeds_have_a_folder_each():
    assert folders_of_seeds(Path("w"), 1) == []
    assert folders_of_seeds(Path("w"), MOST_SEEDS)[-1] == Path("w/seed_999")


@PROPERTY
@given(content=ANY_JSON)
def test_a_data_json_of_any_shape_is_ours_or_refused(tmp_path, content):
    workdir = tmp_path / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    (workdir / "checkpoints").mkdir(parents=True)
    (workdir / "checkpoints" / "1").touch()
    (workdir / "data.json").write_text(json.dumps(content))
    (tmp_path / "a.wav").touch()
    clip = Clip(str(tmp_path / "a.wav"), "fan", "00", "train", "source", 0, "")
    with pytest.raises(InputError, match="data.json|other recordings"):
        with claim_workdir(workdir, {}, [clip]):
            raise AssertionError
    assert json.loads((workdir / "data.json").read_text()) == content


@PROPERTY
@given(content=ANY_JSON)
def test_a_made_of_json_of_any_shape_counts_for_nothing(tmp_path, content):
    (tmp_path / "made_of.json").write_text(json.dumps(content))
    (tmp_path / "fan").write_text("embeddings")
    made = Provenance(tmp_path)
    assert not made.valid("fan", "settings")
    made.add("fan", "settings")
    assert Provenance(tmp_path).valid("fan", "settings")


@PROPERTY
@given(content=ANY_JSON)
def test_a_list_of_skipped_clips_of_any_shape_is_one_or_refused(tmp_path, content):
    path = tmp_path / SKIPPED
    path.write_text(json.dumps(content))
    try:
        found = read_skipped(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert (
            all({"file", "reason"} == set(clip) for clip in found) and found == content["skipped"]
        )


@pytest.fixture
def kept(tmp_path):
    """The rows of one recording, kept in a workdir."""
    rows, recording = [{"file": "a.wav", "error": "silent"}], tmp_path / "a.wav"
    recording.touch()
    return lambda workdir: list(KeptRows(workdir, ("settings",), [recording], lambda _: rows))


@pytest.mark.parametrize("name", ["notes.txt", "good.wav", "sub/deep.txt"])
def test_scoring_into_a_library_of_recordings_removes_nothing(tmp_path, kept, name):
    mine = tmp_path / "000000" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(InputError, match="000000: no shard of an archive, it holds"):
        kept(tmp_path)
    remove_shards(tmp_path, ("rows.json",))
    assert mine.read_text() == "precious"


def test_a_shard_that_is_a_link_is_refused(tmp_path, kept):
    far = tmp_path / "far"
    far.mkdir()
    (far / "rows.json").write_text("precious")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "000000").symlink_to(far)
    with pytest.raises(InputError, match="000000: no shard of an archive"):
        kept(tmp_path / "w")
    remove_shards(tmp_path / "w", ("rows.json",))
    assert (far / "rows.json").read_text() == "precious"


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"made_of": 3}', "[" * 100_000])
def test_a_damaged_note_of_a_shard_has_it_done_again(tmp_path, kept, content):
    first = kept(tmp_path / "w")
    (tmp_path / "w" / "000000" / "made_of.json").write_text(content)
    assert kept(tmp_path / "w") == first


@pytest.mark.parametrize("content", ['{"rows": 3}', '{"rows": [3]}', '{"rows": [{"file": "a"}]}'])
def test_rows_of_another_shape_are_refused(tmp_path, kept, content):
    kept(tmp_path / "w")
    (tmp_path / "w" / "000000" / "rows.json").write_text(content)
    with pytest.raises(InputError, match="rows.json: no rows of scores"):
        kept(tmp_path / "w")
