"""The reader of torch files: the right numbers for every storage, settings as inert stand-ins."""

import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from benchmarks.torch_writer import Call, Reference, Storage, Tensor, save, tensor, zeros
from convert.torch_file import StandIn, read_torch, unwrap

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


def test_settings_objects_become_stand_ins_that_can_be_looked_into(tmp_path):
    node = Call(Reference("omegaconf.nodes", "AnyNode"), (), {"_val": 12, "_metadata": None})
    config = Call(
        Reference("omegaconf.dictconfig", "DictConfig"), (), {"_content": {"num_heads": node}}
    )
    save(
        tmp_path / "a.pt",
        {
            "cfg": config,
            "args": Call(Reference("argparse", "Namespace"), (), {"seed": 1}),
            "choice": Call(
                Reference("fairseq.dataclass.constants", "DDP_BACKEND_CHOICES"), ("legacy",)
            ),
            "size": Call(Reference("torch", "Size"), ((2, 3),)),
        },
    )
    saved = read_torch(tmp_path / "a.pt")
    assert (
        isinstance(saved["cfg"], StandIn) and saved["cfg"].name == "omegaconf.dictconfig DictConfig"
    )
    assert unwrap(unwrap(saved["cfg"])["num_heads"]) == 12
    assert unwrap(saved["args"]) == {"seed": 1} and unwrap(saved["choice"]) == "legacy"


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


@pytest.mark.parametrize(
    "offset, shape, strides",
    [
        (1, (12,), (1,)),
        (0, (13,), (1,)),
        (0, (2, 2), (11, 1)),
        (0, (1 << 40,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
    ],
)
def test_views_that_leave_their_storage_or_repeat_it_are_refused(tmp_path, offset, shape, strides):
    save(
        tmp_path / "a.pt", {"x": Tensor(Storage(np.zeros(12, np.float32)), offset, shape, strides)}
    )
    with pytest.raises(InputError, match="damaged"):
        read_torch(tmp_path / "a.pt")


def test_a_changed_byte_in_a_tensor_is_noticed(tmp_path):
    save(tmp_path / "a.pt", {"x": tensor(np.full(100, 1.5, np.float32))})
    data = bytearray((tmp_path / "a.pt").read_bytes())
    data[data.index(np.float32(1.5).tobytes() * 4) + 5] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        read_torch(tmp_path / "a.pt")["x"].read()
