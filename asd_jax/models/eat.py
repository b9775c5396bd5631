"""EAT, the Efficient Audio Transformer: a post-norm ViT on spectrogram patches (github cwx-worst-one/EAT, MIT).

The same function as the public PyTorch code; parameter names are our own, convert/ holds the table between them.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float

PATCH = 16  # frames and filters to a patch
NORM_EPS = 1e-6


@dataclasses.dataclass(frozen=True)
class EATConfig:
    """Sizes of an EAT encoder; defaults are EAT-base.

    Attributes:
        embed_dim: width d.
        depth: number of blocks.
        num_heads: attention heads; cannot be read from the weights.
        mlp_ratio: hidden width of a block's MLP over d.
        mel_bins: filters of the spectrogram, a multiple of 16.
    """

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    mel_bins: int = 128

    def __post_init__(self):
        if min(self.embed_dim, self.depth, self.num_heads, self.mel_bins, self.mlp_ratio) <= 0:
            raise ValueError(f"EAT sizes must be positive: {self}")
        if self.embed_dim % self.num_heads or self.embed_dim % 4:
            raise ValueError(f"EAT width {self.embed_dim} must be divisible by {self.num_heads} heads and by 4")
        if self.mel_bins % PATCH:
            raise ValueError(f"EAT needs a multiple of {PATCH} filters, not {self.mel_bins}")

    @classmethod
    def base(cls) -> "EATConfig":
        """EAT-base: 85.3 M parameters."""
        return cls()

    @classmethod
    def large(cls) -> "EATConfig":
        """EAT-large: 302.6 M parameters."""
        return cls(embed_dim=1024, depth=24, num_heads=16)

    @classmethod
    def tiny(cls) -> "EATConfig":
        """Our smallest: 5.4 M parameters, no public checkpoint."""
        return cls(embed_dim=192, depth=12, num_heads=3)


class EAT(nn.Module):
    """Normalised spectrogram "b t f" -> (tokens "b n d", intermediates).

    Token 0 is CLS, token 1 + t * bands + f the patch at time t and band f (16 frames x 16 filters, no overlap); frames
    that do not fill a patch are dropped. Intermediates: "pre_norm" "b n d", "blocks" (each block's output) and "ffn"
    (each block's MLP output before residual and norm), lists of "b n d"; the compiler drops those not used.

    Attributes:
        config: sizes.
        dtype: of the computation; parameters stay float32, softmax and norms compute in float32.
    """

    config: EATConfig = EATConfig()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, spectrogram: Float[Array, "b t f"]) -> tuple[Float[Array, "b n d"], dict]:
        c = self.config
        times, bands = spectrogram.shape[1] // PATCH, c.mel_bins // PATCH
        if spectrogram.shape[2] != c.mel_bins or not times:
            raise ValueError(f"EAT needs at least {PATCH} frames of {c.mel_bins} filters, not {spectrogram.shape[1:]}")
        x = rearrange(
            spectrogram[:, : times * PATCH].astype(self.dtype), "b (t p) (f q) -> b (t f) (p q)", p=PATCH, q=PATCH
        )
        x = nn.Dense(c.embed_dim, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform(), name="patch")(x)
        x = x + jnp.asarray(position_table(c.embed_dim, times, bands)[None], self.dtype)  # CLS gets no position
        cls = self.param("cls", nn.initializers.normal(1.0), (c.embed_dim,))
        x = jnp.concatenate([jnp.broadcast_to(cls.astype(self.dtype), (len(x), 1, c.embed_dim)), x], axis=1)
        x = nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="pre_norm")(x)
        out = {"pre_norm": x, "blocks": [], "ffn": []}
        for i in range(c.depth):
            x, ffn = Block(c, self.dtype, name=f"block_{i}")(x)
            out["blocks"].append(x)
            out["ffn"].append(ffn)
        return x, out  # post-norm: nothing follows the last block


class Block(nn.Module):
    """Post-norm transformer block: tokens "b n d" -> (tokens "b n d", MLP output "b n d")."""

    config: EATConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        c = self.config
        hidden = int(c.embed_dim * c.mlp_ratio)
        x = nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="norm1")(x + Attention(c, self.dtype, name="attention")(x))
        ffn = jax.nn.gelu(_dense(hidden, self.dtype, "fc1")(x), approximate=False)  # exact erf, as in the public code
        ffn = _dense(c.embed_dim, self.dtype, "fc2")(ffn)
        return nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="norm2")(x + ffn), ffn


class Attention(nn.Module):
    """Multi-head self-attention, tokens "b n d" -> "b n d"; softmax in float32."""

    config: EATConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        heads = self.config.num_heads
        qkv = _dense(3 * self.config.embed_dim, self.dtype, "qkv")(x)
        q, k, v = rearrange(qkv, "b n (three h d) -> three b n h d", three=3, h=heads)
        q = q * q.shape[-1] ** -0.5
        logits = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits, axis=-1).astype(self.dtype)
        x = rearrange(jnp.einsum("bhnm,bmhd->bnhd", weights, v), "b n h d -> b n (h d)")
        return _dense(self.config.embed_dim, self.dtype, "out")(x)


def _dense(features: int, dtype, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.normal(0.02), name=name)  # BERT's, as EAT


def position_table(embed_dim: int, times: int, bands: int) -> Float[np.ndarray, "n d"]:
    """Fixed 2-D sine-cosine positions (times * bands, embed_dim), time-major.

    The first half of the channels encodes the band, the second the time (EAT's mae.py, whose variable names say the
    opposite). Angles in float32, as there: float64 would differ by up to 8e-5.
    """
    quarter = embed_dim // 4
    omega = np.float32(1) / np.float32(10000) ** (np.arange(quarter, dtype=np.float32) / np.float32(quarter))

    def encode(position):
        angles = np.outer(position.astype(np.float32), omega)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    time, band = np.divmod(np.arange(times * bands), bands)
    return np.concatenate([encode(band), encode(time)], axis=1)
