import io
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zenodo_server import zipped

from asd_jax.data.fetch import DownloadError
from asd_jax.data.unpack import unpack_machine

WAV = "train/section_00_source_train_normal_0000.wav"


def unpack(tmp_path, content, machine="fan"):
    (tmp_path / "fan.zip").write_bytes(content)
    unpack_machine(tmp_path / "fan.zip", machine, tmp_path / "raw" / "fan")


@pytest.mark.parametrize("levels", ["", "fan/", "dev_data/fan/", "dev_data/raw/fan/"])
def test_the_machine_is_found_at_any_level(tmp_path, levels):
    unpack(tmp_path, zipped({f"{levels}{WAV}": b"sound", f"{levels}attributes_00.csv": b""}))
    assert (tmp_path / "raw/fan" / WAV).read_bytes() == b"sound"
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["fan"]


def test_train_and_test_archives_come_together(tmp_path):
    unpack(tmp_path, zipped({f"fan/{WAV}": b"1", "fan/attributes_00.csv": b"train"}))
    unpack(
        tmp_path, zipped({"fan/test/section_00_0000.wav": b"2", "fan/attributes_00.csv": b"test"})
    )
    assert sorted(path.name for path in (tmp_path / "raw/fan").iterdir()) == [
        "attributes_00.csv",
        "test",
        "train",
    ]
    assert (tmp_path / "raw/fan/attributes_00.csv").read_bytes() == b"train"


def test_a_folder_in_the_way_is_replaced(tmp_path):
    (tmp_path / "raw/fan/train").mkdir(parents=True)
    (tmp_path / "raw/fan/train/old.wav").touch()
    unpack(tmp_path, zipped({f"fan/{WAV}": b"1"}))
    assert [path.name for path in (tmp_path / "raw/fan/train").iterdir()] == [
        WAV.removeprefix("train/")
    ]


def linked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("fan/train")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    return buffer.getvalue()


def false_size():
    """A member that states one byte and holds a million."""
    content = zipped({f"fan/{WAV}": bytes(10**6)})
    size = (10**6).to_bytes(4, "little")
    assert content.count(size) == 2
    return content.replace(size, (1).to_bytes(4, "little"))


def damaged():
    """A byte of the sound is wrong."""
    content = bytearray(zipped({f"fan/{WAV}": bytes(range(256))}))
    content[content.index(bytes(range(100, 200)))] ^= 1
    return bytes(content)


def packed(method, *, name=f"fan/{WAV}", content=bytes(range(256)) * 8):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, content)
    return bytearray(buffer.getvalue())


def broken(method):
    """What the decompressor is given begins with nonsense."""
    content = packed(method)
    begin = content.index(WAV.encode()) + len(WAV) + 14
    for place in range(begin, begin + 20):
        content[place] ^= 0xFF
    return bytes(content)


def misnamed():
    """Names that are said to be UTF-8, and are not."""
    content = packed(zipfile.ZIP_STORED, name="fan/train/\u00e4.wav")
    return bytes(content.replace("\u00e4".encode(), b"\xff\xfe"))


def locked_by_a_word():
    content = packed(zipfile.ZIP_STORED)
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (misnamed(), "not a sound zip"),
        (broken(zipfile.ZIP_LZMA), "not a sound zip"),
        (broken(zipfile.ZIP_BZIP2), "not a sound zip"),
        (broken(zipfile.ZIP_DEFLATED), "not a sound zip"),
        (locked_by_a_word(), "not a sound zip"),
        (zipped({"fan/train": b"", "fan/train/a.wav": b""}), "not a sound zip"),
        (zipped({"fan/train/a.wav": b"", "fan/train/a.wav/b.wav": b""}), "not a sound zip"),
        (zipped({f"fan/train/{'a' * 300}.wav": b""}), "not (a sound zip|unpacked)"),
        (zipped({"../escaped.wav": b""}), "leaves the folder"),
        (zipped({"fan/train/../../../../escaped.wav": b""}), "leaves the folder"),
        (zipped({"/escaped.wav": b""}), "leaves the folder"),
        (zipped({"..\\escaped.wav": b""}), "leaves the folder"),
        (zipped({"C:\\escaped.wav": b""}), "leaves the folder"),
        (linked(), "holds the link"),
        (zipped({f"fan/{WAV}": bytes(1 << 27)}), "look like a bomb"),
        (false_size(), "not a sound zip"),
        (zipped({f"fan/{WAV}": b"sound"})[:-30], "not a sound zip"),
        (damaged(), "not a sound zip"),
        (b"<html>", "not a sound zip"),
        (zipped({"pump/train/a.wav": b""}), "no train or test folder of fan in it, but pump"),
    ],
)
def test_bad_archive_leaves_nothing_behind(tmp_path, content, message):
    with pytest.raises(DownloadError, match=f"fan.zip: .*{message}"):
        unpack(tmp_path, content)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "fan.zip",
        "raw",
        "raw/fan",
    ]
    assert not list(tmp_path.parent.glob("escaped*"))


@pytest.mark.parametrize("name", ["x" * 5000, "a/" + "x" * 256, "train/\x00", "\\..\\x"])
def test_an_entry_that_no_disk_takes_is_refused(tmp_path, name):
    """6710c64 ended in what the file system says, or took the part before the NUL."""
    content = zipped({f"fan/{WAV}": b"1", name.replace("\0", "~nul"): b"2"})
    with pytest.raises(DownloadError, match="not unpacked"):
        unpack(tmp_path, content.replace(b"~nul", b"\0nul") if "\0" in name else content)
    assert not list((tmp_path / "raw/fan").iterdir())


WHOLE = zipped({f"fan/train/{n}.wav": bytes([n]) * 50 for n in range(3)})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6))
def test_a_damaged_archive_is_refused_or_whole(changes):
    content = bytearray(WHOLE)
    for place, byte in changes:
        content[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(Path(folder), bytes(content))
        except DownloadError:
            assert not list(Path(folder, "raw/fan").iterdir())
        else:
            there = {path.read_bytes() for path in Path(folder, "raw/fan").rglob("*.wav")}
            assert there <= {bytes([n]) * 50 for n in range(3)}
