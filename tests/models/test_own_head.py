"""A head that is a function of the user's own, named package.module:function."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.arcface import ArcFace
from asd_jax.runtime.errors import InputError
from asd_jax.training.settings import FineTuning
from asd_jax.training.step import make_head

MODULE = """
import flax.linen as nn
import jax.numpy as jnp
from asd_jax.models.arcface import ArcFace

def arcface(classes):
    return ArcFace(classes, scale=20.0, margin=0.2)

class Plain(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, embeddings, labels):
        logits = nn.Dense(self.classes)(embeddings)
        return logits, logits

def one_output(classes):
    class One(Plain):
        def __call__(self, embeddings, labels):
            return labels
    return One(classes)

def too_narrow(classes):
    class Narrow(Plain):
        def __call__(self, embeddings, labels):
            return labels[:, 1:], labels[:, 1:]
    return Narrow(classes)

def of_other_classes(classes):
    return Plain(classes + 1)

class Third(Plain):
    def __call__(self, embeddings, labels):
        return labels, labels[:, 1:]

def without_classes(classes):
    return nn.Dense(classes)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the working directory: function -> its head for 5 classes."""
    (tmp_path / "own_heads.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name: make_head(5, dataclasses.replace(FineTuning(), head=f"own_heads:{name}"))


def test_the_same_module_gives_the_same_logits(own):
    embeddings = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8)), jnp.float32)
    labels = jax.nn.one_hot(jnp.arange(4), 5)
    ours, _ = own("arcface").init_with_output(jax.random.key(0), embeddings, labels)
    theirs, _ = ArcFace(5, 20.0, 0.2).init_with_output(jax.random.key(0), embeddings, labels)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert own("Plain").classes == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one_output", "gave .* for 2 embeddings; expected logits and similarities"),
        ("too_narrow", r"gave \[\(2, 4\), \(2, 4\)\] for 2 embeddings"),
        ("of_other_classes", "returned Plain; expected .* whose attribute classes is 5"),
        ("Third", r"gave \[\(2, 5\), \(2, 4\)\]"),
        ("without_classes", "returned Dense; expected a flax.linen.Module whose attribute classes"),
        ("nothing", "has no attribute 'nothing'"),
    ],
)
def test_what_is_no_head_is_named(own, name, said):
    with pytest.raises(InputError, match=f"arcface.head=own_heads:{name}: .*{said}"):
        own(name)
