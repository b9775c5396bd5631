"""Pools the tokens of a clip into one embedding (or one per frequency band)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# The square root has an infinite slope at 0.
VARIANCE_FLOOR = 1e-6


class AttentiveStatisticsPooling(nn.Module):
    """Maps patch tokens "b n d" to their attention-weighted mean and standard deviation, "b 2d".

    Okabe et al., Interspeech 2018, with the global context [x; mean; std] of ECAPA-TDNN
    (Desplanques et al., 2020). A LayerNorm replaces its BatchNorm, so that the module has no state
    and gives the same result on one device as on eight.

    Attributes:
        bottleneck: hidden width of the attention.
    """

    bottleneck: int = 128

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b e"]:
        # At least float32, as a variance in half precision is a difference of close numbers.
        tokens = tokens.astype(jnp.promote_types(tokens.dtype, jnp.float32))
        mean = tokens.mean(1, keepdims=True)
        std = jnp.sqrt(jnp.maximum(tokens.var(1, keepdims=True), VARIANCE_FLOOR))
        # This is one dense layer on [x; mean; std], split so that the context is not repeated for
        # every token.
        hidden = nn.Dense(self.bottleneck, name="attention_tokens")(tokens)
        context = jnp.concatenate([mean, std], -1)
        hidden = hidden + nn.Dense(self.bottleneck, use_bias=False, name="attention_context")(
            context
        )
        weights = jax.nn.softmax(
            nn.Dense(tokens.shape[-1], name="attention_out")(jnp.tanh(hidden)), axis=1
        )
        mean = (weights * tokens).sum(1)
        variance = (weights * jnp.square(tokens - mean[:, None])).sum(1)
        pooled = jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, VARIANCE_FLOOR))], -1)
        return nn.LayerNorm(name="norm")(pooled)
