"""An npz says what it holds, and is believed where its entries agree."""

import os
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from asd_jax.runtime.archives import open_archive, read_npz
from asd_jax.runtime.errors import InputError


def npy(shape, descr="<f4", data=b"", header=None):
    text = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


HOSTILE = {
    "10^15 rows": npy("(1000000000000000, 5)", data=bytes(20)),
    "10^30 rows": npy("(" + "1" + "0" * 30 + ",)", data=bytes(20)),
    "10^15 rows of nothing": npy("(1000000000000000,)", "<U0"),
    "no row of 10^30 numbers": npy("(0, 1" + "0" * 30 + ")"),
    "negative rows": npy("(-1, -5)", data=bytes(20)),
    "rows that are not there": npy("(6,)", data=bytes(20)),
    "more than it says": npy("(4,)", data=bytes(20)),
    "objects": npy("(1,)", "|O", b"cos\nsystem\n(S'touch executed'\ntR."),
    "nested": npy("", header="{'descr': '<f4', 'shape': " + "(" * 900),
    "nested and closed": npy("", header="{'descr': '<f4', 'shape': " + "(" * 900 + ")" * 900 + "}"),
    "long": npy("", header="{'descr': '<f4', 'shape': (" + "1," * 20_000 + ")}"),
    "no Python": npy("", header="{'descr'"),
    "of text": npy("('4',)", data=bytes(16)),
    "nothing": b"",
    "no npy": b"404: not found",
    "a version of the future": b"\x93NUMPY\x09\x00" + bytes(100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arrays_are_refused_by_name(name, tmp_path):
    path = tmp_path / "fan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vectors.npy", HOSTILE[name])
    with pytest.raises(InputError, match="fan.npz: not a readable npz") as error:
        read_npz(path)
    assert len(str(error.value)) < 600


def test_bombs_are_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("vectors.npy", "w") as entry:
            entry.write(npy("(80000000,)"))
            for _ in range(320):
                entry.write(bytes(1_000_000))
    with pytest.raises(InputError, match="bomb.npz: unpacks to far more"):
        read_npz(tmp_path / "bomb.npz")


def test_entries_without_end_are_not_listed(tmp_path):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, *[0] * 7, 1, *[0] * 6) + b"x"
    for count, words in ((400_000, "too many entries"), (3, "")):
        last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, count * len(entry), 0, 0)
        (tmp_path / "a.zip").write_bytes(entry * count + last)
        if words:
            with pytest.raises(InputError, match=f"a.zip: not a readable zip archive .{words}"):
                open_archive(tmp_path / "a.zip")
        else:
            assert len(open_archive(tmp_path / "a.zip").namelist()) == count


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "fan.npz")
    with pytest.raises(InputError, match="no regular file"):
        read_npz(tmp_path / "fan.npz")


@settings(deadline=None)  # a busy machine is slow
@given(
    st.dictionaries(
        st.text("abc", min_size=1),
        arrays.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.dtype("U4"), np.bool_]),
            arrays.array_shapes(min_dims=0, max_side=4, min_side=0),
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_what_numpy_wrote_comes_back(written, compressed):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        (np.savez_compressed if compressed else np.savez)(path, **written)
        found = read_npz(path)
    assert set(found) == set(written)
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
