"""Conditioning and poolings without parameters against loops in float64, and their gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.settings import CONDITIONINGS, Tokens
from asd_jax.models.token_pooling import conditioned, pool_tokens

KINDS = ("mean", "gem", "max", "gwrp", "rdp", "rdp_gem")
BANDS = 3
TOKENS = np.random.default_rng(0).normal(size=(2, 1 + 5 * BANDS, 7)).astype(np.float32)
SETTINGS = Tokens(gem_power=2.5, gwrp_decay=0.7, rdp_gamma=4.0)


def conditioned_value(x, conditioning):
    if "clamp" in conditioning and x < 0.1:
        x = 0.1
    if "zero" in conditioning and x < 0.1:
        x = 0.0
    return np.tanh(x) if "tanh" in conditioning and x > 0.5 else x


def of_one_set(x, kind, settings):
    """The pooling of tokens "n d" in float64, written from the paper's equations."""
    x = np.asarray(x, np.float64)
    deviation = np.array([np.sqrt(((token - x.mean(0)) ** 2).sum()) for token in x])
    weight = (1 + deviation / deviation.max()) ** settings.rdp_gamma
    weight /= weight.sum()
    if kind == "gwrp":
        decay = settings.gwrp_decay ** np.arange(len(x))
        return np.array([(decay * sorted(column, reverse=True)).sum() for column in x.T]) / (
            decay.sum()
        )
    if kind in ("gem", "rdp_gem"):
        each = np.full(len(x), 1 / len(x)) if kind == "gem" else weight
        powers = np.where(x > 0, x, 0) ** settings.gem_power
        return (each @ powers) ** (1 / settings.gem_power)
    return {"mean": x.mean(0), "max": x.max(0), "rdp": weight @ x}[kind]


@pytest.mark.parametrize("bands", ["mixed", "apart", "joined"])
@pytest.mark.parametrize("kind", KINDS)
def test_poolings_agree_with_the_equations_in_float64(kind, bands):
    settings = dataclasses.replace(SETTINGS, bands=bands)
    found = pool_tokens(jnp.asarray(TOKENS), kind, BANDS, settings)
    for clip, of in zip(TOKENS[:, 1:], found, strict=True):
        # token t * BANDS + f
        parts = [clip] if bands == "mixed" else [clip[f::BANDS] for f in range(BANDS)]
        expected = np.array([of_one_set(part, kind, settings) for part in parts])
        expected = expected if bands == "apart" else expected.ravel()
        np.testing.assert_allclose(of, expected, rtol=0, atol=6e-7)  # measured 2.7e-7


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_conditioning_sets_small_values_and_damps_large_ones(conditioning):
    settings = Tokens(conditioning=conditioning)
    expected = np.vectorize(conditioned_value)(TOKENS.astype(np.float64), conditioning)
    found = conditioned(jnp.asarray(TOKENS), settings)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2.4e-7)  # measured 1.2e-7
    pooled = pool_tokens(jnp.asarray(TOKENS), "mean", BANDS, settings)
    np.testing.assert_allclose(pooled, expected[:, 1:].mean(1), rtol=0, atol=2.4e-7)


def test_values_at_the_two_limits_stay_as_they_are():
    at = jnp.full((1, 2, 1), jnp.float32(0.1)), jnp.full((1, 2, 1), jnp.float32(0.5))
    for tokens in at:
        found = conditioned(tokens, Tokens(conditioning="zero+tanh"))
        np.testing.assert_array_equal(found, tokens)


def test_cls_and_band_mean_are_what_they_were():
    tokens = np.arange(2 * 7 * 3.0).reshape(2, 7, 3)  # CLS, then 2 times x 3 bands
    np.testing.assert_allclose(pool_tokens(jnp.asarray(tokens), "cls", 3), tokens[:, 0])
    bands = pool_tokens(jnp.asarray(tokens), "band_mean", 3)
    # token 1 + t * 3 + f, f = 1
    np.testing.assert_allclose(bands[:, 1], (tokens[:, 2] + tokens[:, 5]) / 2)
    with pytest.raises(ValueError, match="known: mean, cls, band_mean, gem, max"):
        pool_tokens(jnp.asarray(tokens), "median", 3)


def test_limits_of_the_powers_are_the_mean_and_the_maximum():
    tokens = jnp.asarray(np.abs(TOKENS))
    mean, largest = (pool_tokens(tokens, kind, BANDS) for kind in ("mean", "max"))
    limits = [
        ("gwrp", {"gwrp_decay": 1.0}),
        ("gem", {"gem_power": 1.0}),
        ("rdp", {"rdp_gamma": 0.0}),
    ]
    for kind, of in limits:
        found = pool_tokens(tokens, kind, BANDS, Tokens(**of))
        np.testing.assert_allclose(found, mean, rtol=0, atol=5e-7)  # measured 2.4e-7
    found = pool_tokens(tokens, "gwrp", BANDS, Tokens(gwrp_decay=0.0))
    np.testing.assert_array_equal(found, largest)
    # The mean over 15 tokens of which one is largest: 15^(-1/100) = 0.973.
    found = pool_tokens(tokens, "gem", BANDS, Tokens(gem_power=100.0))
    assert np.all(found <= largest) and np.all(found >= 0.97 * largest)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_poolings_scale_with_the_tokens(scale):
    for kind in KINDS:
        one = pool_tokens(jnp.asarray(TOKENS), kind, BANDS, Tokens(gem_power=3.0))
        other = pool_tokens(jnp.asarray(TOKENS * np.float32(scale)), kind, BANDS)
        np.testing.assert_allclose(other / scale, one, rtol=0, atol=1e-6)  # measured 4.8e-7


@pytest.mark.parametrize("conditioning", ["none", "clamp+tanh", "zero+tanh"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_at_zeros_ties_and_equal_tokens(kind, conditioning):
    settings = Tokens(conditioning=conditioning, gem_power=0.5, rdp_gamma=0.5)
    ties = np.repeat(TOKENS[:, :4], 4, axis=1)
    for tokens in (TOKENS * 0, TOKENS * 0 + 1, TOKENS * 0 - 1, ties, np.full_like(TOKENS, 0.1)):
        for power in (settings, dataclasses.replace(settings, gem_power=25.0, rdp_gamma=20.0)):
            gradient = jax.grad(lambda x, p=power: pool_tokens(x, kind, BANDS, p).sum())(
                jnp.asarray(tokens)
            )
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["gem", "rdp_gem", "gwrp"])
def test_gradients_are_those_of_finite_differences(kind):
    with jax.enable_x64(True):
        tokens = jnp.asarray(TOKENS[:1, :7], jnp.float64)

        def value(x):
            return jnp.sum(pool_tokens(x, kind, BANDS, SETTINGS) * jnp.arange(1.0, 8.0)[None])

        gradient = np.asarray(jax.grad(value)(tokens))
        step = np.random.default_rng(1).normal(size=tokens.shape)
        slope = (value(tokens + 1e-6 * step) - value(tokens - 1e-6 * step)) / 2e-6
        assert (gradient * step).sum() == pytest.approx(float(slope), rel=1e-7)  # measured 1e-9
