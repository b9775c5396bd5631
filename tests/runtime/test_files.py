"""Outputs are written in one way, whatever stands in their place, and nothing of others is touched.
Each fails on 6710c64, but for what is refused there in other words.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asd_jax.runtime import files
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import (
    atomic_file,
    check_output,
    file_sha256,
    folder_in_use,
    open_regular,
    part_folder,
    read_json,
    remove_new_folder_on_error,
    remove_parts,
    write_json,
)

NAMES = st.text("ab.csv partobe_0", min_size=1, max_size=12).filter(lambda n: n.strip(". "))
ENDINGS = ["", ".part", ".probe", ".tmp", "~", ".lock", ".bak"]


def write(path, content=b"new"):
    with atomic_file(path) as file:
        file.write(content)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def soon(function, *arguments):
    """Returns what a function returns or raises, which may take 5 s at most."""
    found = []

    def run():
        try:
            found.append((function(*arguments), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it takes for ever"
    value, error = found[0]
    if error:
        raise error
    return value


def test_a_file_and_its_folders_are_made(tmp_path):
    def use():
        with folder_in_use(tmp_path / "p" / "q") as alone:
            return alone()

    soon(write, tmp_path / "a" / "b" / "c")
    soon(write, tmp_path / "a" / "b" / "d")
    assert contents(tmp_path / "a" / "b") == {"c": b"new", "d": b"new"}
    assert soon(use) is True and soon(use) is True and (tmp_path / "p" / "q").is_dir()


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    seen = []
    fsync = os.fsync
    replace = os.replace

    def checked_fsync(number):
        seen.append(("fsync", os.fstat(number).st_size))
        fsync(number)

    def checked_replace(part, target):
        seen.append(("replace", Path(part).read_bytes()))
        replace(part, target)

    monkeypatch.setattr(files.os, "fsync", checked_fsync)
    monkeypatch.setattr(files.os, "replace", checked_replace)
    write(tmp_path / "out")
    assert seen == [("fsync", 3), ("replace", b"new")]


def test_of_several_processes_only_the_first_one_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(files.processes, "is_first", lambda: False)
    write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_another_process_removes_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    flock = fcntl.flock
    removed = []

    def late(file, kind):
        if not removed and kind == fcntl.LOCK_EX:
            removed.append(Path(file.name))
            removed[0].unlink()
        flock(file, kind)

    monkeypatch.setattr(files.fcntl, "flock", late)
    soon(write, tmp_path / "out")
    assert removed and contents(tmp_path) == {"out": b"new"}


def test_a_folder_that_its_last_user_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    flock = fcntl.flock
    place = tmp_path / "folder"
    removed = []

    def late(number, kind):
        if not removed:
            removed.append(place.rmdir())
        flock(number, kind)

    def use():
        with folder_in_use(place):
            return place.is_dir()

    monkeypatch.setattr(files.fcntl, "flock", late)
    assert soon(use) and removed


def test_nothing_stays_open(tmp_path, monkeypatch):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    os.mkfifo(tmp_path / "pipe")
    before = opened()
    write(tmp_path / "out")
    check_output(tmp_path / "out")
    (tmp_path / ".asd_jax_0123456789abcdef.part").write_text("")
    remove_parts(tmp_path)
    with part_folder(tmp_path / "set"):
        pass
    with pytest.raises(OSError, match="no regular file"):
        soon(open_regular, tmp_path / "pipe")
    open_regular(tmp_path / "out").close()
    assert opened() == before


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


def test_a_pipe_that_nobody_reads_is_waited_for_five_seconds(tmp_path, monkeypatch):
    waited = []
    clock = types.SimpleNamespace(monotonic=lambda: sum(waited), sleep=waited.append)
    monkeypatch.setattr(files, "time", clock)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: cannot be written \(nobody reads there\)"):
        soon(write, tmp_path / "pipe")
    assert set(waited) == {0.1} and 5 < sum(waited) < 5.2


def test_a_device_is_written_into(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    write(tmp_path / "null")
    assert (tmp_path / "null").is_symlink() and stat.S_ISCHR(os.stat(os.devnull).st_mode)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(InputError, match="full: cannot be written .*No space left"):
        write(tmp_path / "full")


@pytest.mark.parametrize("to", ["pipe", "file"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_standard_stream_is_written_into_in_order(tmp_path, to, stream):
    code = (
        "import sys\n"
        "from asd_jax.runtime.files import atomic_file\n"
        f"print('before', file=sys.{stream})\n"
        f"with atomic_file('/dev/{stream}') as file: file.write(b'between\\n')\n"
        f"print('after', file=sys.{stream})"
    )
    with open(tmp_path / "out", "w+") as out:
        where = {stream: subprocess.PIPE if to == "pipe" else out}
        done = subprocess.run([sys.executable, "-c", code], **where, text=True, check=True)
    said = getattr(done, stream) if to == "pipe" else (tmp_path / "out").read_text()
    assert said == "before\nbetween\nafter\n"


@pytest.mark.parametrize("name", ["folder", "x" * 300, "file/out"])
def test_a_place_that_cannot_be_written_is_known_before(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written") as error:
        check_output(tmp_path / name)
    assert ("a folder; name a file in it" in str(error.value)) == (name == "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_file_or_a_pipe_without_the_right_to_write_stays(tmp_path, monkeypatch):
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "kept").chmod(0o444)
    os.mkfifo(tmp_path / "pipe")
    allowed = os.access
    # root may write everything
    monkeypatch.setattr(files.os, "access", lambda path, of: of != os.W_OK and allowed(path, of))
    for name in ("kept", "pipe"):
        with pytest.raises(InputError, match=rf"{name}: cannot be written \(Permission denied\)"):
            check_output(tmp_path / name)
    with pytest.raises(InputError, match="Permission denied"):
        write(tmp_path / "kept")
    check_output(tmp_path / "new")  # what is not there needs no right of its own
    assert (tmp_path / "kept").read_text() == "mine"


def test_what_a_killed_process_left_is_known_as_ours(tmp_path):
    with atomic_file(tmp_path / "out") as file:
        left = Path(file.name).name
    for name in (left, ".asd_jax_mine.part", "out.part"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path)
    assert set(contents(tmp_path)) == {".asd_jax_mine.part", "out.part", "out"}


def test_only_files_and_folders_of_ours_are_removed_and_no_pipe_is_waited_for(tmp_path):
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / ".asd_jax_0000000000000000.part"
    link.symlink_to("mine")
    os.mkfifo(tmp_path / ".asd_jax_1111111111111111.part")
    (tmp_path / ".asd_jax_2222222222222222.part").mkdir()
    (tmp_path / ".asd_jax_2222222222222222.part" / "half").write_text("")
    soon(remove_parts, tmp_path)
    assert contents(tmp_path) == {"mine": b"mine", link.name: b"mine"} and link.is_symlink()


def test_a_part_folder_is_renamed_or_removed_and_the_next_one_clears_what_was_left(tmp_path):
    left = tmp_path / ".asd_jax_0123456789abcdef.part"
    left.mkdir()
    with part_folder(tmp_path / "set") as part:
        assert not left.exists()
        (part / "a").write_text("a")
    assert list(tmp_path.iterdir()) == []
    with part_folder(tmp_path / "set") as part:
        (part / "a").write_text("a")
        part.rename(tmp_path / "set")
    assert contents(tmp_path / "set") == {"a": b"a"} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "options", "stays"),
    [
        ("results.json", {}, True),
        ("checkpoints/1", {}, True),
        ("scores.csv", {}, False),
        ("scores.csv", {"unless": "*.csv"}, True),
    ],
)
def test_what_took_time_to_compute_outlives_an_error(tmp_path, name, options, stays):
    place = tmp_path / "run"
    with pytest.raises(InputError), remove_new_folder_on_error(place, **options):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("")
        raise InputError("wrong")
    assert (place / name).exists() == place.exists() == stays


def test_what_went_wrong_is_told_although_the_folder_cannot_be_removed(tmp_path, monkeypatch):
    rmtree = shutil.rmtree

    def refused(path, ignore_errors=False):
        (path / "half").mkdir()  # somebody writes there meanwhile
        rmtree(path / "nothing", ignore_errors)

    monkeypatch.setattr(files.shutil, "rmtree", refused)
    with pytest.raises(InputError, match="wrong"), remove_new_folder_on_error(tmp_path / "run"):
        raise InputError("wrong")
    assert (tmp_path / "run" / "half").is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "run"
    with pytest.raises(InputError, match=f"{place}: no folder to write to"):
        with remove_new_folder_on_error(place):
            raise AssertionError("never reached")


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
        soon(read_json, tmp_path / "pipe.json")


def test_the_same_value_gives_the_same_json_and_what_is_no_number_none(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2.5]})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": [\n    2.5\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert set(contents(tmp_path)) == {"a.json"}


def test_json_may_be_as_long_as_the_caller_says_and_no_longer(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 12}')
    assert read_json(tmp_path / "a.json", largest=9) == {"a": 12}
    with pytest.raises(InputError, match="a.json: "):
        read_json(tmp_path / "a.json", largest=8)


def test_the_checksum_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


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
