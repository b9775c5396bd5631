"""Defines the decoders of pre-training, which predict every patch from those that the student saw.

They are dropped after pre-training.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.models.devices import map_own_clips, target_device
from asd_jax.models.eat import PATCH, Block, EATConfig, gelu, position_table

NORM_EPS = 1e-5  # EAT's decoder norms, without scale and bias


class ConvolutionDecoder(nn.Module):
    """Maps kept tokens "r k d" and their indices to predictions "r n d" (EAT, models/modules.py
    Decoder2d).

    The masked places are filled with noise, from the random key named "noise". Residual layers of
    grouped convolution, norm and GELU over the (time, band) grid follow.

    Attributes:
        layers, kernel, groups: of the convolutions; EAT-base 6, 3, 16; EAT-large 3, 5, 16.
        noise: standard deviation.
        dtype: the type to compute in.
    """

    layers: int
    kernel: int
    groups: int
    noise: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], times: int, bands: int
    ) -> Float[Array, "r n d"]:
        shape = (len(tokens), times * bands, tokens.shape[-1])
        x = scatter(
            self.noise * jax.random.normal(self.make_rng("noise"), shape, self.dtype), tokens, kept
        )
        x = rearrange(x, "r (t f) d -> r t f d", f=bands)
        for i in range(self.layers):
            convolution = GroupedConvolution(self.kernel, self.groups, self.dtype, name=f"conv_{i}")
            # Without scale and bias, as in the public code.
            norm = nn.LayerNorm(NORM_EPS, use_scale=False, use_bias=False, dtype=self.dtype)
            x = x + gelu(norm(convolution(x)))
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(
            rearrange(x, "r t f d -> r (t f) d")
        )


class GroupedConvolution(nn.Module):
    """Maps "r t f d" to the same shape by a grouped convolution with a square kernel.

    The edges are padded with zeros, and the parameters are those of nn.Conv. On a CPU the
    convolution is written as one matrix product per tap: forward and backward measured 17 times
    faster than XLA's grouped convolution there, with 768 channels in 16 groups. On other devices
    that would keep a copy of the input for every tap: pre-training EAT-base on 48 clips copied 70
    GB per step.

    Attributes:
        size: edge of the kernel, odd.
        groups: number of groups of channels that do not mix.
        dtype: the type to compute in.
    """

    size: int
    groups: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        _, times, bands, width = x.shape
        taps = range(self.size)
        narrow = width // self.groups
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (self.size, self.size, narrow, width)
        )
        bias = self.param("bias", nn.initializers.zeros, (width,))
        kernel = kernel.astype(self.dtype)
        bias = bias.astype(self.dtype)[None, None, None]
        if target_device().platform != "cpu":
            # For a grouped convolution the compiler would gather all clips on every device.
            return map_own_clips(self._convolved, x, kernel) + bias
        kernel = rearrange(kernel, "i j c (g o) -> i j c g o", g=self.groups)
        edge = (self.size // 2,) * 2
        x = jnp.pad(x, ((0, 0), edge, edge, (0, 0)))
        x = rearrange(x, "r t f (g c) -> r t f g c", g=self.groups)
        products = [
            jnp.einsum("rtfgc,cgo->rtfgo", x[:, i : i + times, j : j + bands], kernel[i, j])
            for i in taps
            for j in taps
        ]
        return rearrange(sum(products), "r t f g o -> r t f (g o)") + bias

    def _convolved(self, x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        form = {"dimension_numbers": layout, "feature_group_count": self.groups}
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", **form)


class PixelDecoder(nn.Module):
    """Maps kept tokens "r k d" and their indices to the pixels "r n p" of every patch.

    This is the decoder of a masked autoencoder (He et al. 2021). A masked place starts at the mean
    of the student's tokens in its band, plus a learnt token; positions and a few narrow blocks
    follow. (Without the mean, attention must first learn to find the same band: the loss of a
    stationary sound stays near that of no prediction for hundreds of steps.)

    Attributes:
        layers, width, heads: of the blocks.
        dtype: the type to compute in.
    """

    layers: int
    width: int
    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], times: int, bands: int
    ) -> Float[Array, "r n p"]:
        x = nn.Dense(self.width, dtype=self.dtype, name="in")(tokens)
        # One token for every hidden place; the position tells them apart.
        masked = self.param("masked", nn.initializers.normal(0.02), (self.width,)).astype(
            self.dtype
        )
        seen = jnp.tile(band_means(x, kept, bands), (1, times, 1))
        x = scatter(seen + masked[None, None], x, kept)
        x = x + jnp.asarray(position_table(self.width, times, bands)[None], self.dtype)
        config = EATConfig(self.width, self.layers, self.heads)
        for i in range(self.layers):
            x, _ = Block(config, self.dtype, name=f"block_{i}")(x)
        return nn.Dense(PATCH * PATCH, dtype=self.dtype, name="out")(x)


class TeacherHeads(nn.Module):
    """Maps kept tokens "r k d" and their indices to each teacher's frames, a list of "r t e".

    A hidden place gets the mean of the tokens seen in its band. The tokens are averaged over each
    frame of the teacher; one linear layer per teacher sees all bands of a frame together. The
    layers start at zero: random ones would first teach the student to give the same tokens for
    every sound, which is the fastest way to lose their noise (measured: within 60 steps).

    Attributes:
        shapes: number of frames t and of values e of each teacher.
        dtype: the type to compute in.
    """

    shapes: tuple[tuple[int, int], ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], times: int, bands: int
    ) -> list[Float[Array, "r t e"]]:
        tokens = tokens.astype(self.dtype)
        x = scatter(jnp.tile(band_means(tokens, kept, bands), (1, times, 1)), tokens, kept)
        x = rearrange(x, "r (t f) d -> r t (f d)", f=bands)
        return [
            nn.Dense(
                width, dtype=self.dtype, kernel_init=nn.initializers.zeros, name=f"teacher_{n}"
            )(jnp.einsum("ct,rtd->rcd", jnp.asarray(frame_shares(count, times), self.dtype), x))
            for n, (count, width) in enumerate(self.shapes)
        ]


def frame_shares(count: int, times: int) -> Float[np.ndarray, "c t"]:
    """Returns for each of `count` equal parts of a clip the share that each of its `times` patches
    in time has in it.
    """
    # In patches: where the parts begin and end.
    ends = np.arange(count + 1) / count * times
    low = ends[:-1, None]
    high = ends[1:, None]
    patch = np.arange(times)[None]
    overlap = np.clip(np.minimum(high, patch + 1) - np.maximum(low, patch), 0, None)
    return overlap / overlap.sum(1, keepdims=True)


def band_means(
    tokens: Float[Array, "r k d"], kept: Int[Array, "r k"], bands: int
) -> Float[Array, "r f d"]:
    """Returns the mean of the kept tokens of each band; zeros for a band that has none."""
    # A patch's index is t * bands + f.
    of_band = jax.nn.one_hot(kept % bands, bands, dtype=tokens.dtype)
    total = jnp.einsum("rkf,rkd->rfd", of_band, tokens)
    # A mask may hide a whole band.
    return total / jnp.maximum(of_band.sum(1), 1)[..., None]


def scatter(
    places: Float[Array, "r n d"], tokens: Float[Array, "r k d"], kept: Int[Array, "r k"]
) -> Float[Array, "r n d"]:
    """Returns the grid `places` with every token written at its place."""
    return jax.vmap(lambda row, token, place: row.at[place].set(token))(
        places, tokens.astype(places.dtype), kept
    )
