import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.pooling import AttentiveStatisticsPooling

TOKENS = jax.random.normal(jax.random.key(0), (2, 24, 8))


@pytest.fixture(scope="module")
def pooling():
    module = AttentiveStatisticsPooling(bottleneck=4)
    params = module.init(jax.random.key(1), TOKENS)["params"]
    return module, jax.tree.map(lambda p: p + 0.1, params)  # biases off zero


def test_attentive_statistics_agree_with_float64_loops(pooling):
    module, params = pooling
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    assert set(p["attention_context"]) == {"kernel"}  # there is one bias, of the tokens
    # of clips, and of equal tokens, whose deviation is that of the floor
    tokens = jnp.concatenate([TOKENS, jnp.repeat(TOKENS[:1, :1], 24, axis=1)])
    for clip, pooled in zip(
        np.asarray(tokens, np.float64), module.apply({"params": params}, tokens), strict=True
    ):
        context = np.concatenate([clip.mean(0), clip.std(0)])
        # [x; mean; std] for every token
        stacked = np.concatenate([clip, np.tile(context, (len(clip), 1))], axis=1)
        kernel = np.concatenate([p["attention_tokens"]["kernel"], p["attention_context"]["kernel"]])
        hidden = np.tanh(stacked @ kernel + p["attention_tokens"]["bias"])
        energy = hidden @ p["attention_out"]["kernel"] + p["attention_out"]["bias"]
        weights = np.exp(energy) / np.exp(energy).sum(0)
        mean = (weights * clip).sum(0)
        std = np.sqrt(np.maximum((weights * clip**2).sum(0) - mean**2, 1e-6))
        expected = np.concatenate([mean, std])
        expected = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-6)
        expected = expected * p["norm"]["scale"] + p["norm"]["bias"]
        np.testing.assert_allclose(pooled, expected, rtol=0, atol=3e-6)  # measured 1.2e-6


def test_the_default_width_is_that_of_shipped_weights():
    init = AttentiveStatisticsPooling().init
    params = jax.eval_shape(init, jax.random.key(0), TOKENS)["params"]
    assert params["attention_tokens"]["kernel"].shape == (8, 128)


def test_order_of_tokens_does_not_matter(pooling):
    module, params = pooling
    shuffled = TOKENS[:, jax.random.permutation(jax.random.key(2), 24)]
    both = module.apply({"params": params}, jnp.concatenate([TOKENS, shuffled]))
    np.testing.assert_allclose(both[:2], both[2:], atol=2e-6)


def test_equal_tokens_have_a_finite_gradient(pooling):
    module, params = pooling
    gradient = jax.grad(lambda x: module.apply({"params": params}, x).sum())(jnp.ones((1, 24, 8)))
    assert np.isfinite(gradient).all()
