"""Conditions tokens and pools them without parameters: mean, GeM, max, GWRP, RDP and RDP with GeM.

The definitions are those of Wilkinghoff, Yadav and Tan, "Temporal Pooling Strategies for
Training-Free Anomalous Sound Detection" (arXiv 2603.04605). All are computed in float32 at least,
and have finite gradients at zeros, at ties and for equal tokens.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from asd_jax.models.settings import Tokens


def pool_tokens(
    tokens: Float[Array, "b n d"], kind: str, bands: int, settings: Tokens | None = None
) -> Float[Array, "b *f e"]:
    """Returns the embedding "b d", "b bands d" or "b (bands d)" of tokens whose first is CLS.

    Args:
        tokens: output of a block of EAT, the index of a patch is t * bands + f.
        kind: "cls", "mean", "band_mean" (the mean with the bands apart), "gem", "max", "gwrp",
            "rdp" or "rdp_gem".
        bands: number of frequency bands.
        settings: conditioning, what happens to the bands, and the powers; default: Tokens().

    Raises:
        ValueError: the kind is unknown.
    """
    settings = settings or Tokens()
    x = conditioned(tokens, settings)
    if kind == "cls":
        return x[:, 0]
    how = settings.bands_of(kind)
    embedding = pooled(x[:, 1:] if how == "mixed" else by_band(x[:, 1:], bands), kind, settings)
    return embedding.reshape(len(embedding), -1) if how == "joined" else embedding


def conditioned(tokens: Float[Array, "b n d"], settings: Tokens) -> Float[Array, "b n d"]:
    """Returns the tokens "b n d" without small values and with large values damped, as set."""
    x = tokens.astype(jnp.promote_types(tokens.dtype, jnp.float32))
    low = settings.condition_low
    high = settings.condition_high
    steps = settings.conditioning.split("+")
    if "clamp" in steps:
        x = jnp.maximum(x, low)
    if "zero" in steps:
        x = jnp.where(x < low, 0.0, x)
    if "tanh" in steps:
        x = jnp.where(x > high, jnp.tanh(x), x)
    return x


def by_band(patches: Float[Array, "b n d"], bands: int) -> Float[Array, "b t f d"]:
    """Returns patch tokens "b n d", whose index is t * bands + f, as "b t f d"."""
    return rearrange(patches, "b (t f) d -> b t f d", f=bands)


def pooled(x: Float[Array, "b n *f d"], kind: str, settings: Tokens) -> Float[Array, "b *f d"]:
    """Returns the pooling "b ... d" of tokens "b n ... d" over their second axis, n.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind in ("mean", "band_mean"):
        return x.mean(1)
    if kind == "max":
        return x.max(1)
    if kind == "gwrp":
        return global_weighted_rank(x, settings.gwrp_decay)
    if kind == "gem":
        return generalized_mean(x, settings.gem_power)
    if kind == "rdp":
        return (relative_deviation_weights(x, settings.rdp_gamma) * x).sum(1)
    if kind == "rdp_gem":
        weights = relative_deviation_weights(x, settings.rdp_gamma)
        return generalized_mean(x, settings.gem_power, weights)
    raise ValueError(f"pooling {kind!r}; known: mean, cls, band_mean, gem, max, gwrp, rdp, rdp_gem")


def generalized_mean(
    x: Float[Array, "b n *f d"], power: float, weights: Float[Array, "b n *f 1"] | None = None
) -> Float[Array, "b *f d"]:
    """Returns (sum_t w_t max(x_t, 0)^p)^(1/p) "b ... d"; weights 1/n if none are given."""
    x = jnp.maximum(x, 0.0)
    # The mean scales with x. Divided by the largest value, no power underflows, and the root is
    # never taken near 0, where its gradient is infinite. The result does not depend on the scale,
    # so the scale needs no gradient.
    scale = jax.lax.stop_gradient(x.max(1, keepdims=True))
    x = x / jnp.where(scale > 0, scale, 1.0)
    # Powers below 1 have an infinite gradient at 0 too.
    powers = jnp.where(x > 0, jnp.where(x > 0, x, 1.0) ** power, 0.0)
    mean = powers.mean(1) if weights is None else (weights * powers).sum(1)
    positive = mean > 0
    return jnp.where(positive, jnp.where(positive, mean, 1.0) ** (1 / power), 0.0) * scale[:, 0]


def global_weighted_rank(x: Float[Array, "b n *f d"], decay: float) -> Float[Array, "b *f d"]:
    """Returns the mean "b ... d" of each dimension's values, the i-th largest weighted by r^i."""
    weights = jnp.power(decay, jnp.arange(x.shape[1], dtype=x.dtype))
    largest_first = -jnp.sort(-x, axis=1)
    return jnp.einsum("n,bn...->b...", weights / weights.sum(), largest_first, precision="highest")


def relative_deviation_weights(
    x: Float[Array, "b n *f d"], gamma: float
) -> Float[Array, "b n *f 1"]:
    """Returns the weight "b n ... 1" of each token, (1 + r)^gamma / sum, with its deviation r.

    r is the token's Euclidean distance from the mean token, divided by the largest of them; 0 for
    equal tokens.
    """
    square = jnp.square(x - x.mean(1, keepdims=True)).sum(-1, keepdims=True)
    # Both branches of `where` need finite gradients, so the root never sees 0.
    positive = square > 0
    distance = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
    largest = distance.max(1, keepdims=True)
    relative = distance / jnp.where(largest > 0, largest, 1.0)
    # (1 + r)^gamma by its logarithm, which no gamma overflows.
    return jax.nn.softmax(gamma * jnp.log1p(relative), axis=1)
