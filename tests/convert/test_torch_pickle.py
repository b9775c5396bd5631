"""The stack machine: settings as inert stand-ins, and tensors that stay within their storage."""

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from benchmarks.torch_writer import Call, Reference, Storage, Tensor, save
from convert.torch_file import read_torch
from convert.torch_pickle import StandIn, unwrap


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
