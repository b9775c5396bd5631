"""Compiled programs that were cut are removed, so that JAX writes them anew."""

import os
import zlib

from asd_jax.runtime.cut_programs import remove_cut_programs

WHOLE = zlib.compress(bytes(range(256)) * 100)


def left(folder):
    return {path.name for path in folder.glob("*-cache")}


def test_programs_that_a_kill_or_a_full_disk_cut_are_removed_and_no_others(tmp_path):
    for name, content in {
        "whole-cache": WHOLE,
        "half-cache": WHOLE[: len(WHOLE) // 2],
        "empty-cache": b"",
        "damaged-cache": WHOLE[:20] + b"\xff" * 40,
        "zstandard-cache": b"\x28\xb5\x2f\xfd",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes").write_text("")
    remove_cut_programs(tmp_path)
    assert left(tmp_path) == {"whole-cache", "zstandard-cache"} and (tmp_path / "notes").exists()
    (tmp_path / "new-cache").write_bytes(WHOLE[:-9])
    remove_cut_programs(tmp_path)
    assert left(tmp_path) == {"whole-cache", "zstandard-cache"}


def test_programs_of_before_the_last_look_are_not_read_again(tmp_path):
    remove_cut_programs(tmp_path)
    (tmp_path / "old-cache").write_bytes(WHOLE[:-9])
    os.utime(tmp_path / "old-cache", (1e9, 1e9))
    remove_cut_programs(tmp_path)
    assert left(tmp_path) == {"old-cache"}


def test_a_folder_that_is_not_there_is_passed_over(tmp_path):
    remove_cut_programs(tmp_path / "gone")
    assert not list(tmp_path.iterdir())
