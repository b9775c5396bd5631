"""The rows of an archive are kept in shards, and nothing else in the folder is touched."""

import numpy as np
import pytest

from asd_jax.detector.rows import row
from asd_jax.detector.verdict import Verdict
from asd_jax.run.manifest import Manifest
from asd_jax.run.sharded_rows import ROWS, ShardedRows, _is_row
from asd_jax.run.shards import Shards
from asd_jax.runtime.errors import InputError


def remove(folder):
    """Removes the shards of rows in a folder."""
    Shards(folder, (ROWS,), str, "recordings").remove()


@pytest.fixture
def kept(tmp_path):
    """The rows of one recording, kept in a workdir."""
    rows = [{"file": "a.wav", "error": "silent"}]
    recording = tmp_path / "a.wav"
    recording.touch()
    return lambda workdir: list(ShardedRows(workdir, ("settings",), [recording], lambda _: rows))


@pytest.mark.parametrize("name", ["notes.txt", "good.wav", "sub/deep.txt"])
def test_scoring_into_a_library_of_recordings_removes_nothing(tmp_path, kept, name):
    mine = tmp_path / "000000" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(InputError, match="000000: no shard of an archive, it holds"):
        kept(tmp_path)
    remove(tmp_path)
    assert mine.read_text() == "precious"


def test_a_shard_that_is_a_link_is_refused(tmp_path, kept):
    far = tmp_path / "far"
    far.mkdir()
    (far / "rows.json").write_text("precious")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "000000").symlink_to(far)
    with pytest.raises(InputError, match="000000: no shard of an archive"):
        kept(tmp_path / "w")
    remove(tmp_path / "w")
    assert (far / "rows.json").read_text() == "precious"


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"made_of": 3}', "[" * 100_000])
def test_a_damaged_note_of_a_shard_has_it_done_again(tmp_path, kept, content):
    first = kept(tmp_path / "w")
    (tmp_path / "w" / "000000" / "made_of.json").write_text(content)
    assert kept(tmp_path / "w") == first


SHAPES = ['{"rows": 3}', '{"rows": [3]}', '{"rows": [{"file": "a"}]}']


@pytest.mark.parametrize("content", ["{", *SHAPES])
def test_rows_that_were_changed_are_done_again(tmp_path, kept, content):
    first = kept(tmp_path / "w")
    (tmp_path / "w" / "000000" / ROWS).write_text(content)
    assert kept(tmp_path / "w") == first


@pytest.mark.parametrize("content", SHAPES)
def test_rows_of_another_shape_are_refused(tmp_path, kept, content):
    kept(tmp_path / "w")
    shard = tmp_path / "w" / "000000"
    (shard / ROWS).write_text(content)
    manifest = Manifest(shard)
    manifest.record([ROWS], manifest.files[ROWS]["made_of"])
    with pytest.raises(InputError, match="rows.json: no rows of scores"):
        kept(tmp_path / "w")


def test_rows_are_computed_again_if_their_recording_or_what_they_depend_on_changes(tmp_path):
    recording = tmp_path / "a.wav"
    recording.write_text("sound")
    computed = []

    def rows_of(paths):
        computed.append(list(paths))
        return [{"file": str(path), "error": "silent"} for path in paths]

    def rows(settings=("detector", "mean"), paths=(recording,)):
        return list(ShardedRows(tmp_path / "w", settings, list(paths), rows_of))

    assert rows() == rows() == [{"file": str(recording), "error": "silent"}]
    assert computed == [[recording]]
    rows(("detector", "near"))
    recording.write_text("another sound")
    rows(("detector", "near"))
    # A recording that is gone is a row like others.
    recording.unlink()
    rows(("detector", "near"))
    rows(("detector", "near"))
    assert len(computed) == 4
    rows(("detector", "near"), (tmp_path / "b.wav",))
    assert len(computed) == 5


GOOD = row(
    "a.wav",
    Verdict(
        score=1.5,
        threshold=1.0,
        is_anomaly=True,
        p_value=0.1,
        worst_seconds=(0.0, 2.0),
        view="level",
        windows=np.array([1.5], np.float32),
    ),
)


@pytest.mark.parametrize(
    ("value", "is_row"),
    [
        (GOOD, True),
        (GOOD | {"score": 1}, True),
        (GOOD | {"score": True}, False),
        (GOOD | {"is_anomaly": 1}, False),
        (GOOD | {"note": None}, False),
        ({"file": "a", "error": "silent"}, True),
        ({"file": "a", "error": 3}, False),
        ({"file": 3, "error": "silent"}, False),
        ({"error": "silent"}, False),
        ([], False),
        ({name: value for name, value in GOOD.items() if name != "where"}, False),
    ],
)
def test_a_row_has_every_column_in_its_type_or_an_error(value, is_row):
    assert _is_row(value) is is_row
