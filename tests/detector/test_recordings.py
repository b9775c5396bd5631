"""Which recordings are meant, and what their names and folders say."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.data.clips import Clip
from asd_jax.detector.recordings import (
    names_of,
    normal_files,
    normal_recordings,
    recordings,
    sessions_of,
)
from asd_jax.runtime.errors import InputError


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, np.ones(800, np.int16), 16000)
    return root


def test_one_recording_may_be_given_as_a_file(tmp_path):
    tree(tmp_path, "long.wav", "other.wav")
    clips = normal_recordings(tmp_path / "long.wav")
    names = names_of(clips, str(tmp_path / "long.wav"))
    assert names == ["long.wav"] and clips[0].domain == "unknown"
    assert normal_files(names, [str(tmp_path / "long.wav")]) == {"long.wav": tmp_path / "long.wav"}


@pytest.mark.parametrize("folder", ["Source", "SOURCE", "source"])
def test_domains_are_known_in_capitals(tmp_path, folder):
    tree(tmp_path, f"{folder}/a.wav", "Target/fast/b.wav")
    said = [(clip.domain, clip.attribute) for clip in normal_recordings(tmp_path)]
    assert sorted(said) == [("source", ""), ("target", "fast")]


def test_no_name_of_a_normal_recording_is_refused_but_an_anomalys(tmp_path):
    names = ("section_1_monday.wav", "section_00_target_test_normal_0001_vel_1.wav", "a b.wav")
    said = [(c.domain, c.attribute) for c in normal_recordings(tree(tmp_path, *names))]
    assert said == [("unknown", ""), ("target", "vel_1"), ("unknown", "")]
    tree(tmp_path, "anomaly_id_00_00000001.wav")
    with pytest.raises(InputError, match="an anomaly by its name"):
        normal_recordings(tmp_path)


def test_the_system_s_folders_are_not_scored(tmp_path):
    tree(tmp_path, "a.wav", ".Trash-1000/files/deleted.wav")
    assert recordings([str(tmp_path)]) == [tmp_path / "a.wav"]


NAMED = "section_02_target_test_normal_0001_vel_1.wav"


def test_a_clip_has_what_its_folders_its_name_and_the_table_say(tmp_path):
    root = tree(tmp_path / "pump", "b.wav", f"source/fast/{NAMED}", NAMED, "source/target/a.wav")

    def clip(name, section="00", domain="unknown", attribute=""):
        return Clip(str(root / name), "pump", section, "train", domain, 0, attribute)

    expected = [
        clip("b.wav"),
        clip(NAMED, "02", "target", "vel_1"),
        clip(f"source/fast/{NAMED}", "02", "source", "fast"),
        clip("source/target/a.wav", domain="target"),
    ]
    assert normal_recordings(root) == expected
    (root / "clips.csv").write_text("file,attribute\nb.wav,slow\n")
    assert normal_recordings(root)[0] == clip("b.wav", attribute="slow")


def test_a_list_names_recordings_anywhere_in_any_order(tmp_path):
    root = tree(tmp_path / "lists", "b.wav")
    tree(tmp_path, "other/a.wav")
    table = root / "list.CSV"
    outside = tmp_path / "other" / "a.wav"
    table.write_text(f"file,domain\nb.wav,target\n../other/a.wav,\n{outside},\n,\n")
    clips = normal_recordings(table)
    said = [(clip.path, clip.domain, clip.attribute) for clip in clips]
    folders = "/".join(outside.parts[1:-1])
    assert said == [
        (str(root / "../other/a.wav"), "source", "other"),
        (str(outside), "source", folders),
        (str(root / "b.wav"), "target", ""),
    ]
    assert names_of(clips, str(table)) == ["../other/a.wav", outside.as_posix(), "b.wav"]
    assert recordings([str(table)]) == [root / "b.wav", root / "../other/a.wav", outside]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\na.wav\n", "has a header with the column file"),
        ("file\n\n", "names no recordings"),
        ("file\nb.wav\na.wav\n", "names 'b.wav', which is no file"),
        (f"file\n{'x' * 5000}\n", "list.csv: attribute 'x*...' is longer than 4096 bytes"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path, table, message):
    tree(tmp_path, "a.wav")
    (tmp_path / "list.csv").write_text(table)
    for use in (normal_recordings, lambda path: recordings([str(path)])):
        with pytest.raises(InputError, match=f"list.csv: .*{message.removeprefix('list.csv: ')}"):
            use(tmp_path / "list.csv")


def test_a_machine_has_a_name_in_the_present_folder_too(tmp_path, monkeypatch):
    tree(tmp_path, "a.wav")
    monkeypatch.chdir(tmp_path)
    (clip,) = normal_recordings("a.wav")
    assert (clip.machine, clip.path) == (".", "a.wav")


def test_each_recording_is_scored_once_in_the_order_given(tmp_path):
    tree(tmp_path, "b/1.wav", "b/2.wav", "a.wav")
    (tmp_path / "list.csv").write_text("file\nb/2.wav\n")
    given = ["a.wav", "list.csv", "b", "a.wav"]
    found = recordings([str(tmp_path / name) for name in given])
    assert found == [tmp_path / name for name in ("a.wav", "b/2.wav", "b/1.wav")]
    with pytest.raises(InputError, match="missing: no such file or folder"):
        recordings([str(tmp_path / "a.wav"), str(tmp_path / "missing")])
    with pytest.raises(InputError, match="^no recordings to score"):
        recordings([])


def test_a_name_that_is_known_gets_the_folder_before_it_and_is_found_again(tmp_path):
    first = tree(tmp_path / "monday", "a.wav", "x/b.wav")
    second = tree(tmp_path / "tuesday", "a.wav", "c.wav")
    old = names_of(normal_recordings(first), str(first))
    new = names_of(normal_recordings(second), str(second), old)
    assert (old, new) == (["a.wav", "x/b.wav"], ["tuesday/a.wav", "c.wav"])
    files = normal_files([*old, *new], [str(first), str(second)])
    assert list(files.values()) == [first / "a.wav", first / "x/b.wav", *sorted(second.iterdir())]
    with pytest.raises(InputError, match=f"--normal={second}: no x/b.wav, which the detector"):
        normal_files(old, [str(second)])


def test_a_session_comes_from_a_column_a_subfolder_or_the_times_of_the_files(tmp_path):
    tree(tmp_path, "monday/am/a.wav", "Source/b.wav")
    clips = normal_recordings(tmp_path)
    assert [Path(clip.path).name for clip in clips] == ["b.wav", "a.wav"]
    for clip, time in zip(clips, (9000, 1000), strict=True):
        os.utime(clip.path, (time, time))
    assert sessions_of(clips, tmp_path) == (["unnamed", "monday/am"], "named")
    table = tmp_path / "clips.csv"
    # A column that is empty throughout says nothing; one that says something holds for all.
    table.write_text("file,session\nmonday/am/a.wav,\n,9\n")
    assert sessions_of(clips, tmp_path)[0] == ["unnamed", "monday/am"]
    table.write_text("file,session\nmonday/am/a.wav,first\nSource/b.wav,\n")
    assert sessions_of(clips, tmp_path)[0] == ["unnamed", "first"]
    table.unlink()
    alone = [*clips[:1], *clips[:1]]
    assert sessions_of(alone, tmp_path) == (None, "unknown")
    tree(tmp_path, "Source/c.wav")
    os.utime(tmp_path / "Source" / "c.wav", (1000, 1000))
    later, earlier = normal_recordings(tmp_path / "Source")
    assert sessions_of([later, earlier], tmp_path)[0] == ["session 2", "session 1"]
