import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.eat import EAT, EATConfig
from asd_jax.models.lora import LoRA, merge
from asd_jax.models.settings import TARGETS

CONFIG = EATConfig(embed_dim=48, depth=3, num_heads=4)
X = jax.random.normal(jax.random.key(0), (2, 64, 128))


def with_updates(lora, scale=0.1):
    """Parameters whose updates are not nothing any more."""
    params = jax.jit(EAT(CONFIG, lora=lora).init)(jax.random.key(1), X)["params"]
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    keys = jax.random.split(jax.random.key(2), len(flat))
    leaves = [
        scale * jax.random.normal(k, p.shape) if "lora_b" in str(path) else p
        for k, (path, p) in zip(keys, flat, strict=True)
    ]
    return jax.tree.unflatten(tree, leaves)


@pytest.mark.parametrize("targets", [pytest.param(("qkv",), marks=pytest.mark.slow), TARGETS])
def test_merged_equals_unmerged(targets):
    lora = LoRA(rank=4, alpha=8.0, targets=targets)
    params = with_updates(lora)
    beside, _ = EAT(CONFIG, lora=lora).apply({"params": params}, X)
    merged, _ = EAT(CONFIG).apply({"params": merge(params, lora)}, X)
    plain, _ = EAT(CONFIG).apply(
        {"params": merge(jax.tree.map(jnp.zeros_like, params) | {}, lora)}, X
    )
    assert jnp.abs(merged - plain).max() > 0.1
    assert np.linalg.norm(beside - merged) / np.linalg.norm(merged) < 1e-6  # measured 2.3e-7
    np.testing.assert_allclose(beside, merged, atol=1e-5)


def test_merged_parameters_are_those_of_an_ordinary_model():
    merged = merge(with_updates(LoRA(4)), LoRA(4))
    ordinary = jax.eval_shape(EAT(CONFIG).init, jax.random.key(0), X)["params"]
    assert jax.tree.map(jnp.shape, merged) == jax.tree.map(jnp.shape, ordinary)


def test_updates_start_as_nothing():
    params = jax.jit(EAT(CONFIG, lora=LoRA(4)).init)(jax.random.key(1), X)["params"]
    plain = jax.jit(EAT(CONFIG).init)(jax.random.key(1), X)["params"]
    jax.tree.map(np.testing.assert_array_equal, merge(params, LoRA(4)), plain)


def test_only_the_targets_get_an_update():
    params = with_updates(LoRA(4, targets=("fc1",)))
    assert set(params["block_0"]["fc1"]) == {"kernel", "bias", "lora_a", "lora_b"}
    assert (
        set(params["block_0"]["attention"]["qkv"])
        == set(params["block_0"]["fc2"])
        == {"kernel", "bias"}
    )


@pytest.mark.parametrize(("init", "bound"), [("he", np.sqrt(6 / 48)), ("peft", np.sqrt(1 / 48))])
def test_the_factor_a_is_uniform_up_to_its_bound(init, bound):
    params = EAT(CONFIG, lora=LoRA(rank=64, init=init)).init(jax.random.key(0), X)["params"]
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    (first, *_) = [leaf for path, leaf in flat if "lora_a" in str(path)]
    assert first.shape[0] == 48
    assert 0.99 * bound < np.abs(first).max() <= bound
    assert np.std(first) == pytest.approx(bound / np.sqrt(3), rel=0.02)
