"""Decoders of pre-training: from the patches that the student saw to a prediction at every place. Dropped afterwards."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.models.eat import PATCH, Block, EATConfig, position_table

NORM_EPS = 1e-5  # EAT's decoder norms, without scale and bias
NOISE = 0.01  # standard deviation of what EAT puts at the masked places


class ConvolutionDecoder(nn.Module):
    """Kept tokens "r k d" and their numbers -> predictions "r n d" (EAT, models/modules.py Decoder2d).

    Noise at the masked places, then residual layers of grouped convolution, norm and GELU over the (time, band) grid.

    Attributes:
        layers, kernel, groups: of the convolutions; EAT-base 6, 3, 16; EAT-large 3, 5, 16.
        dtype: of the computation.
    """

    layers: int = 6
    kernel: int = 3
    groups: int = 16
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], noise: Float[Array, "r n d"], bands: int
    ) -> Float[Array, "r n d"]:
        x = rearrange(scatter(noise.astype(self.dtype), tokens, kept), "r (t f) d -> r t f d", f=bands)
        width, size = x.shape[-1], (self.kernel, self.kernel)
        for i in range(self.layers):
            convolution = nn.Conv(width, size, feature_group_count=self.groups, dtype=self.dtype, name=f"conv_{i}")
            norm = nn.LayerNorm(NORM_EPS, use_scale=False, use_bias=False, dtype=self.dtype)
            x = x + jax.nn.gelu(norm(convolution(x)), approximate=False)
        return nn.Dense(width, dtype=self.dtype, name="out")(rearrange(x, "r t f d -> r (t f) d"))


class PixelDecoder(nn.Module):
    """Kept tokens "r k d" and their numbers -> the pixels of every patch "r n p" (masked autoencoder, He et al. 2021).

    A learnt token at the masked places, positions, a few narrow blocks.

    Attributes:
        layers, width, heads: of the blocks.
        dtype: of the computation.
    """

    layers: int = 2
    width: int = 128
    heads: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], times: int, bands: int
    ) -> Float[Array, "r n p"]:
        x = nn.Dense(self.width, dtype=self.dtype, name="in")(tokens)
        masked = self.param("masked", nn.initializers.normal(0.02), (self.width,)).astype(self.dtype)
        x = scatter(jnp.broadcast_to(masked, (len(x), times * bands, self.width)), x, kept)
        x = x + jnp.asarray(position_table(self.width, times, bands)[None], self.dtype)
        config = EATConfig(self.width, self.layers, self.heads)
        for i in range(self.layers):
            x, _ = Block(config, self.dtype, name=f"block_{i}")(x)
        return nn.Dense(PATCH * PATCH, dtype=self.dtype, name="out")(x)


def scatter(
    places: Float[Array, "r n d"], tokens: Float[Array, "r k d"], kept: Int[Array, "r k"]
) -> Float[Array, "r n d"]:
    """Puts every token at its place on the grid, over what is there."""
    return jax.vmap(lambda row, token, place: row.at[place].set(token))(places, tokens.astype(places.dtype), kept)
