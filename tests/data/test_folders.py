"""One finder: what is found in a folder, and what is said of the rest."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_jax.data.clips import find_clips, sound_files
from asd_jax.data.folders import file_states
from asd_jax.data.inspect import inspect
from asd_jax.runtime.errors import InputError
from benchmarks.odd_folders import faults_of, random_folder


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, np.ones(800, np.int16), 16000, format="WAV")
    return root


def found(root):
    """(names found, lines told)."""
    lines = []
    files = sound_files(root, report=lines.append)
    return [path.relative_to(root).as_posix() for path in files], lines


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_recording_of_any_folder_is_found_once_and_the_rest_is_told(tmp_path_factory, seed):
    root = tmp_path_factory.mktemp("trees") / "root"
    before = os.getcwd()
    try:
        assert faults_of(root, *random_folder(root, np.random.default_rng(seed))) == []
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "kept",
    [".Trash-1000/files", "$RECYCLE.BIN/S-1", ".ipynb_checkpoints", "@eaDir/r0.wav", "#recycle"],
)
def test_what_a_system_keeps_for_itself_is_not_searched(tmp_path, kept):
    tree(tmp_path, "r0.wav", f"{kept}/deleted.wav", "fan/train/a.wav", f"{kept}/fan/train/b.wav")
    assert found(tmp_path) == (["fan/train/a.wav", "r0.wav"], [])
    assert [Path(clip.path).name for clip in find_clips(tmp_path)] == ["a.wav"]


def test_linked_folders_are_searched_once(tmp_path):
    tree(tmp_path, "root/a.wav", "elsewhere/b.wav")
    (tmp_path / "root" / "monday").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "again").symlink_to(tmp_path / "root")
    assert found(tmp_path / "root") == (["a.wav", "monday/b.wav"], [])


def test_unusual_endings_are_known_or_told(tmp_path):
    tree(tmp_path, "a.wave", "b.aifc", "c.snd", "d.bwf", "e.BWF")
    for name in ("f.m4a", "g.xyz", "notes.txt"):
        (tmp_path / name).write_bytes(b"?")
    files, lines = found(tmp_path)
    assert files == ["a.wave", "b.aifc", "c.snd", "d.bwf", "e.BWF"]
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        f"{tmp_path}/f.m4a",
        f"{tmp_path}/g.xyz",
    ]


def test_pipes_and_broken_links_are_told(tmp_path):
    tree(tmp_path, "fan/train/a.wav")
    os.mkfifo(tmp_path / "fan/train/pipe.wav")
    (tmp_path / "fan/train/gone.wav").symlink_to(tmp_path / "nowhere")
    lines = []
    assert len(find_clips(tmp_path, report=lines.append)) == 1 == len(found(tmp_path)[0])
    assert len(lines) == 2 and "a link that leads nowhere" in lines[0] + lines[1]
    assert any("pipe.wav: a pipe or device" in line for line in lines)
    assert len(inspect(tmp_path)["machines"]["fan"]["problems"]) == 2


def test_recordings_below_a_train_folder_are_told(tmp_path):
    tree(tmp_path, "fan/train/a.wav", "fan/train/monday/b.wav")
    lines = []
    assert len(find_clips(tmp_path, report=lines.append)) == 1
    assert "train/monday: 1 recordings, which must lie in train itself" in lines[0]


def test_train_and_test_are_known_in_capitals(tmp_path):
    tree(tmp_path, "fan/Train/a.wav", "fan/TEST/b.wav")
    assert [clip.split for clip in find_clips(tmp_path)] == ["test", "train"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    tree(tmp_path, "a.wav", "locked/b.wav")
    real = os.scandir

    def scandir(path="."):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, lines = found(tmp_path)
    assert files == ["a.wav"] and "locked: cannot be listed (Permission denied)" in lines[0]
    tree(tmp_path, "fan/train/c.wav")
    assert len(find_clips(tmp_path)) == 1
    with pytest.raises(InputError, match="locked: cannot be listed"):
        sound_files(tmp_path / "locked")


def test_states_change_with_a_file_and_leave_out_removed_ones(tmp_path):
    tree(tmp_path, "a.wav", "b.wav")
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    before = file_states(paths)
    assert list(before) == paths
    os.utime(paths[0], ns=(1, 1))
    paths[1].unlink()
    after = file_states(paths)
    assert list(after) == paths[:1] and after[paths[0]] == (1, before[paths[0]][1])


def test_many_things_left_out_are_counted(tmp_path):
    tree(tmp_path, "a.wav")
    for n in range(20):
        (tmp_path / f"{n}.m4a").touch()
    lines = found(tmp_path)[1]
    assert len(lines) == 9 and lines[-1] == "left out: 12 more"
