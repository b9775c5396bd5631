"""The public forms of a tiny EAT: the golden files of tests, and what is made from them."""

import functools
from pathlib import Path

import jax
import numpy as np

from asd_jax.models.eat import EAT
from benchmarks.torch_writer import Call, Reference, save, tensor
from convert.torch_file import read_torch

GOLDEN = Path(__file__).parent / "golden"
CONFIG = GOLDEN / "tiny_eat_hf_config.json"


def equal(found, expected):
    assert found[0] == expected[0]
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


def state(public, rename=lambda name: name):
    """A state_dict as torch saves it: an OrderedDict with _metadata."""
    named = {rename(name): tensor(array) for name, array in public.items()}
    return Call(Reference("collections", "OrderedDict"), (), None) if not named else named


FAIRSEQ = GOLDEN / "tiny_eat_fairseq.pt"
POSITIONS = "modality_encoders.IMAGE.fixed_positional_encoder.positions"


def resaved(path, settings, **changes):
    model = {
        name: tensor(t.read()) for name, t in read_torch(FAIRSEQ)["model"].items() if name != "_ema"
    }
    model = {name: t for name, t in (model | changes).items() if t is not None}
    save(path, {"args": None, "cfg": None, "model": model} | settings)
    return path


PRETRAINED = ["tiny_eat_fairseq.pt", "tiny_eat_hf.safetensors"]
ALL = [
    *PRETRAINED,
    "tiny_eat_fairseq_fp16.pt",
    "tiny_eat_finetuned_fairseq.pt",
    "tiny_eat_finetuned_hf.safetensors",
]


@functools.partial(jax.jit, static_argnums=0)
def forward(config, params, x):
    return EAT(config).apply({"params": params}, x[:, 0].astype(np.float32))
