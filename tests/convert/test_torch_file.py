"""The reader of torch files: the right numbers for every storage."""

import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from benchmarks.torch_writer import Storage, Tensor, save, tensor, zeros
from convert.torch_file import read_torch

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64]
)
def test_numbers_of_every_type_come_back_exactly(tmp_path, dtype):
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    save(tmp_path / "a.pt", {"x": tensor(array)})
    read = read_torch(tmp_path / "a.pt")["x"]
    assert read.shape == (3, 4) and read.dtype == array.dtype
    np.testing.assert_array_equal(read.read(), array)


def test_views_share_a_storage_with_their_own_offset_and_strides(tmp_path):
    numbers = np.arange(24, dtype=np.float32)
    storage = Storage(numbers)
    save(
        tmp_path / "a.pt",
        {
            "whole": Tensor(storage, 0, (4, 6), (6, 1)),
            "transposed": Tensor(storage, 0, (6, 4), (1, 6)),
            "part": Tensor(storage, 7, (2, 2), (6, 2)),
            "scalar": Tensor(storage, 5, (), ()),
            "empty": Tensor(storage, 0, (0, 3), (3, 1)),
        },
    )
    read = {name: t.read() for name, t in read_torch(tmp_path / "a.pt").items()}
    table = numbers.reshape(4, 6)
    np.testing.assert_array_equal(read["whole"], table)
    np.testing.assert_array_equal(read["transposed"], table.T)
    np.testing.assert_array_equal(read["part"], [[7, 9], [13, 15]])
    assert read["scalar"] == 5 and read["empty"].shape == (0, 3)


def test_reads_what_torch_itself_wrote():
    saved = read_torch(GOLDEN / "tiny_eat_fairseq.pt")
    assert saved["cfg"]["model"]["num_heads"] == 4
    assert saved["model"]["blocks.0.attn.qkv.weight"].shape == (144, 48)
    assert set(saved["model"]["_ema"]) < set(saved["model"])


def test_optimizer_state_is_never_read(tmp_path):
    save(
        tmp_path / "a.pt",
        {"model": {"x": tensor(np.ones(3, np.float32))}, "state": zeros((1 << 28,))},
    )
    assert (tmp_path / "a.pt").stat().st_size > 1 << 30
    tracemalloc.start()
    saved = read_torch(tmp_path / "a.pt")
    np.testing.assert_array_equal(saved["model"]["x"].read(), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert saved["state"].shape == (1 << 28,) and peak < 1 << 20


def test_a_changed_byte_in_a_tensor_is_noticed(tmp_path):
    save(tmp_path / "a.pt", {"x": tensor(np.full(100, 1.5, np.float32))})
    data = bytearray((tmp_path / "a.pt").read_bytes())
    data[data.index(np.float32(1.5).tobytes() * 4) + 5] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        read_torch(tmp_path / "a.pt")["x"].read()
