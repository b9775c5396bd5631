"""Outputs are written in one way, whatever stands in their place, and nothing of others is touched.
Each fails on 6710c64, but for what is refused there in other words.
"""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asd_jax.runtime import files
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import (
    atomic_file,
    check_output,
    folder_in_use,
    part_folder,
    read_json,
    remove_new_folder_on_error,
    remove_parts,
)

NAMES = st.text("ab.csv partobe_0", min_size=1, max_size=12).filter(lambda n: n.strip(". "))
ENDINGS = ["", ".part", ".probe", ".tmp", "~", ".lock", ".bak"]


def write(path, content=b"new"):
    with atomic_file(path) as file:
        file.write(content)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(deadline=None, max_examples=60)
@given(
    name=NAMES,
    neighbours=st.dictionaries(NAMES, st.binary(max_size=5), max_size=4),
    endings=st.sets(st.sampled_from(ENDINGS[1:])),
    fails=st.booleans(),
)
def test_no_neighbour_changes_whatever_it_is_called(
    tmp_path_factory, name, neighbours, endings, fails
):
    folder = tmp_path_factory.mktemp("n")
    before = neighbours | {name + end: b"mine" for end in endings} | {"." + name: b"mine"}
    for one, content in before.items():
        (folder / one).write_bytes(content)
    check_output(folder / name)
    assert contents(folder) == before
    if fails:
        with pytest.raises(KeyboardInterrupt), atomic_file(folder / name) as file:
            file.write(b"half")
            raise KeyboardInterrupt
        assert contents(folder) == before
    else:
        write(folder / name)
        assert contents(folder) == before | {name: b"new"}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_names_is_written(tmp_path, there):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target"
    if there:
        target.write_text("before")
        target.chmod(0o640)
    (tmp_path / "link").symlink_to(Path("far") / "target")
    (tmp_path / "link_to_link").symlink_to("link")
    check_output(tmp_path / "link_to_link")
    assert target.exists() == there
    write(tmp_path / "link_to_link")
    assert (tmp_path / "link_to_link").is_symlink() and (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new" and list((tmp_path / "far").iterdir()) == [target]
    assert not there or stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_that_names_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="loop: cannot be written"):
        check_output(tmp_path / "loop")


def test_a_named_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    found = []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    check_output(pipe)
    reader.start()
    write(pipe, bytes(200_000))
    reader.join(timeout=10)
    assert found == [bytes(200_000)] and stat.S_ISFIFO(pipe.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "READER_SECONDS", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: cannot be written \(nobody reads there\)"):
        write(tmp_path / "pipe")


def test_a_device_is_written_into(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    write(tmp_path / "null")
    assert (tmp_path / "null").is_symlink() and stat.S_ISCHR(os.stat(os.devnull).st_mode)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(InputError, match="full: cannot be written .*No space left"):
        write(tmp_path / "full")


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_standard_output_is_written_into_in_order(tmp_path, to):
    code = (
        "from asd_jax.runtime.files import atomic_file\n"
        "print('before')\n"
        "with atomic_file('/dev/stdout') as file: file.write(b'between\\n')\n"
        "print('after')"
    )
    with open(tmp_path / "out", "w+") as out:
        where = subprocess.PIPE if to == "pipe" else out
        done = subprocess.run([sys.executable, "-c", code], stdout=where, text=True, check=True)
    said = done.stdout if to == "pipe" else (tmp_path / "out").read_text()
    assert said == "before\nbetween\nafter\n"


@pytest.mark.parametrize("name", ["folder", "x" * 300, "file/out"])
def test_a_place_that_cannot_be_written_is_known_before(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        check_output(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_without_the_right_to_write_stays(tmp_path):
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "kept").chmod(0o444)
    with pytest.raises(InputError, match="Permission denied"):
        check_output(tmp_path / "kept")


def test_what_a_killed_process_left_is_known_as_ours(tmp_path):
    with atomic_file(tmp_path / "out") as file:
        left = Path(file.name).name
    for name in (left, ".asd_jax_mine.part", "out.part"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path)
    assert set(contents(tmp_path)) == {".asd_jax_mine.part", "out.part", "out"}


def test_an_error_takes_back_only_what_nobody_else_uses(tmp_path):
    place = tmp_path / "new" / "run"

    def fail(before=lambda: None, **options):
        with pytest.raises(InputError, match="wrong"), remove_new_folder_on_error(place, **options):
            (place / "half").write_text("")
            before()
            raise InputError("wrong")

    fail()
    assert list(tmp_path.iterdir()) == []
    fail(lambda: (place / "results.json").write_text("{}"))  # of another one, in the meantime
    assert (place / "half").exists()
    (place / "results.json").unlink()
    fail()  # it was there before
    assert (place / "half").exists()
    place = tmp_path / "shared"
    with folder_in_use(tmp_path):  # not the folder itself
        fail()
    assert not place.exists()
    other = []

    def enter():
        other.append(folder_in_use(place))
        other[0].__enter__()

    fail(enter)
    assert (place / "half").exists()
    other[0].__exit__(None, None, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20))
def test_json_of_any_content_is_an_object_or_refused(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_bytes(content)
    try:
        assert read_json(path) == json.loads(content)
    except InputError as error:
        assert "any.json: " in str(error)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, '{"a": ' * 100_000, "[1]", "4"])
def test_json_of_another_shape_is_refused(tmp_path, content):
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(InputError, match="odd.json: "):
        read_json(tmp_path / "odd.json")


def test_a_pipe_in_the_place_of_a_json_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="no regular file"):
        read_json(tmp_path / "pipe.json")


def test_what_a_killed_process_left_is_removed_by_the_next_write_and_what_is_in_use_stays(tmp_path):
    killed = tmp_path / ".asd_jax_0123456789abcdef.part"
    folder = tmp_path / ".asd_jax_fedcba9876543210.part"
    folder.mkdir()
    (folder / "half").write_text("")
    killed.write_text("half")
    with part_folder(tmp_path / "set") as part, atomic_file(tmp_path / "slow") as file:
        write(tmp_path / "out")
        assert part.is_dir() and Path(file.name).exists()
        assert not killed.exists() and not folder.exists()
        file.write(b"slow")
    assert contents(tmp_path) == {"out": b"new", "slow": b"slow"}
