"""Defines EAT, the Efficient Audio Transformer: a post-norm ViT on spectrogram patches.

It computes the same function as the public PyTorch code (github cwx-worst-one/EAT, MIT). The
parameters have other names; convert/ holds the table of both.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.features.simam import Length
from asd_jax.models.dot_product_attention import attend_filled, without_fill
from asd_jax.models.lora import Dense, LoRA
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import check_settings, key

PATCH = 16  # edge of a patch, in frames and in filters
NORM_EPS = 1e-6
STACKED = "blocks"  # name of the parameters that `stacked_blocks` makes


@dataclasses.dataclass(frozen=True)
class EATConfig:
    """Sizes of an EAT encoder; the defaults are those of EAT-base.

    The upper limits come from the largest vision transformers, which have a width of 6144, 48
    blocks and 48 heads.
    """

    embed_dim: int = key(768, "width d", least=4, most=8192)
    depth: int = key(12, "number of blocks", least=1, most=64)
    num_heads: int = key(12, "of attention; cannot be read from the weights", least=1, most=64)
    mlp_ratio: float = key(4.0, "hidden width of a block's MLP over d", above=0, most=16)
    mel_bins: int = key(128, "filters of the spectrogram, a multiple of 16", least=PATCH, most=512)

    def __post_init__(self):
        check_settings(self)
        # Heads share the width equally, and positions have four parts (see `position_table`).
        if self.embed_dim % self.num_heads or self.embed_dim % 4:
            raise InputError(
                f"EAT width {self.embed_dim} must be divisible by {self.num_heads} heads and by 4"
            )
        if self.mel_bins % PATCH:
            raise InputError(f"EAT needs a multiple of {PATCH} filters, not {self.mel_bins}")

    @classmethod
    def base(cls) -> "EATConfig":
        """Returns the sizes of EAT-base: 85.3 M parameters."""
        return cls()

    @classmethod
    def large(cls) -> "EATConfig":
        """Returns the sizes of EAT-large: 302.6 M parameters."""
        return cls(embed_dim=1024, depth=24, num_heads=16)

    @classmethod
    def tiny(cls) -> "EATConfig":
        """Returns the sizes of our smallest EAT: 5.4 M parameters, no public checkpoint."""
        return cls(embed_dim=192, depth=12, num_heads=3)


class EAT(nn.Module):
    """Maps a normalised spectrogram "b t f" to (tokens "b n d", intermediates).

    Token 0 is CLS, token 1 + t * bands + f is the patch at time t and band f (16 frames x 16
    filters, no overlap); frames that do not fill a patch are dropped. The intermediates are
    "pre_norm" "b n d", and the lists "blocks" (each block's output) and "ffn" (each block's MLP
    output before residual and norm) of "b n d". The compiler removes those that are not used.

    In pre-training the module receives m views of every clip, each of k patches: `kept` "b m k"
    holds the indices of the patches (without CLS), and the output has b * m rows, clip by clip.

    Attributes:
        config: sizes.
        dtype: the type to compute in; parameters stay float32, softmax and norms compute in
            float32.
        lora: low-rank updates of the blocks' linear layers, if any.
        drop_path: rate of stochastic depth in the last block, rising from 0 in the first (Huang et
            al., ECCV 2016); active only if a random key named "drop_path" is given.
        remat: recompute each block in the backward pass instead of storing its intermediate values.
        attention: see `attend`.
    """

    config: EATConfig = EATConfig()
    dtype: DTypeLike = jnp.float32
    lora: LoRA | None = None
    drop_path: float = 0.0
    remat: bool = False
    attention: str = "auto"

    @nn.compact
    def __call__(
        self, spectrogram: Float[Array, "b t f"], kept: Int[Array, "b m k"] | None = None
    ) -> tuple[Float[Array, "_ n d"], dict]:
        c = self.config
        times = spectrogram.shape[1] // PATCH
        bands = c.mel_bins // PATCH
        if spectrogram.shape[2] != c.mel_bins or spectrogram.shape[1] < PATCH:
            raise ValueError(
                f"EAT needs at least {PATCH} frames of {c.mel_bins} filters, not "
                f"{spectrogram.shape[1:]}"
            )
        x = rearrange(
            spectrogram[:, : times * PATCH].astype(self.dtype),
            "b (t p) (f q) -> b (t f) (p q)",
            p=PATCH,
            q=PATCH,
        )
        x = nn.Dense(
            c.embed_dim,
            dtype=self.dtype,
            # As in masked autoencoders (He et al. 2021).
            kernel_init=nn.initializers.xavier_uniform(),
            name="patch",
        )(x)
        # The CLS token has no position, so positions are added before it is prepended.
        x = x + jnp.asarray(position_table(c.embed_dim, times, bands)[None], self.dtype)
        if kept is not None:
            x = jax.vmap(lambda patches, view: patches[view])(x, kept).reshape(
                -1, kept.shape[2], c.embed_dim
            )
        cls = self.param("cls", nn.initializers.normal(1.0), (c.embed_dim,))
        x = jnp.concatenate(
            [jnp.broadcast_to(cls.astype(self.dtype), (x.shape[0], 1, c.embed_dim)), x], axis=1
        )
        x = nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="pre_norm")(x)
        out = {"pre_norm": x, "blocks": [], "ffn": []}
        # The parameters decide, so that callers need no flag.
        if self.has_variable("params", STACKED):
            return self._in_a_loop(x, out)
        kind = nn.remat(Block) if self.remat else Block
        for i, rate in enumerate(np.linspace(0, self.drop_path, c.depth).tolist()):
            x, ffn = kind(c, self.dtype, self.lora, rate, self.attention, name=f"block_{i}")(x)
            out["blocks"].append(x)
            out["ffn"].append(ffn)
        return x, out  # post-norm: nothing follows the last block

    def _in_a_loop(self, x, out):
        """Returns the same for parameters of `stacked_blocks`."""
        # parent=None: the block takes the loop's parameters and registers none of its own.
        block = Block(self.config, self.dtype, self.lora, 0.0, self.attention, parent=None)

        def step(x, params):
            x, ffn = block.apply({"params": params}, x)
            return x, (x, ffn)

        x, (blocks, ffn) = jax.lax.scan(step, x, self.get_variable("params", STACKED))
        return x, out | {"blocks": blocks, "ffn": ffn}


def stacked_blocks(params: dict, count: int) -> dict:
    """Returns EAT's parameters with those of the first `count` blocks stacked, without the others.

    With them EAT runs one block in a loop. It computes the same result and compiles sooner, which
    matters to a command that scores one file. They are for inference, without stochastic depth.
    """
    blocks = [params[f"block_{i}"] for i in range(count)]
    rest = {name: of for name, of in params.items() if not name.startswith("block_")}
    return rest | {STACKED: jax.tree.map(lambda *of: np.stack(of), *blocks)}


class Block(nn.Module):
    """Maps tokens "b n d" to (tokens "b n d", MLP output "b n d"): a post-norm transformer block.

    The attributes are those of EAT.
    """

    config: EATConfig
    dtype: DTypeLike
    lora: LoRA | None = None
    drop_path: float = 0.0
    attention: str = "auto"

    @nn.compact
    def __call__(self, x):
        c = self.config
        dense = functools.partial(Dense, dtype=self.dtype, lora=self.lora)
        # With remat, only the norm's input is stored for the gradient.
        norm = functools.partial(nn.remat(nn.LayerNorm), NORM_EPS, dtype=self.dtype)
        attended = Attention(c, self.dtype, self.lora, self.attention, name="attention")(x)
        x = norm(name="norm1")(x + self._dropped(attended))
        ffn = dense(int(c.embed_dim * c.mlp_ratio), name="fc1")(x)
        ffn = dense(c.embed_dim, name="fc2")(gelu(ffn))
        return norm(name="norm2")(x + self._dropped(ffn)), ffn

    def _dropped(self, branch):
        """Returns the branch, set to 0 for some clips and scaled up for the others.

        The scale keeps the mean unchanged.
        """
        if not (self.drop_path and self.has_rng("drop_path")):
            return branch
        keep = 1 - self.drop_path
        kept = jax.random.bernoulli(self.make_rng("drop_path"), keep, (len(branch), 1, 1))
        return branch * (kept / keep).astype(branch.dtype)


class Attention(nn.Module):
    """Maps tokens "b n d" to "b n d" by multi-head self-attention."""

    config: EATConfig
    dtype: DTypeLike
    lora: LoRA | None = None
    attention: str = "auto"

    @nn.compact
    def __call__(self, x):
        width = self.config.embed_dim
        heads = self.config.num_heads
        qkv = Dense(3 * width, self.dtype, self.lora, name="qkv")(x)
        each = rearrange(qkv, "b n (three h d) -> b n three h d", three=3, h=heads)
        filled = attend_filled(each, self.attention)
        out = Dense(width, self.dtype, self.lora, name="out")

        def project(out, filled):
            return out(rearrange(without_fill(filled, x.shape[1]), "b n h d -> b n (h d)"))

        # The fused kernel stores its padded result for the gradient anyway; remat avoids storing a
        # second copy without the padding.
        return (nn.remat(project) if filled.shape[1] > x.shape[1] else project)(out, filled)


@jax.custom_vjp
def gelu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Returns x Phi(x) by the exact erf, as in the public code; only x is kept for the gradient."""
    return jax.nn.gelu(x, approximate=False)


def _gelu_gradient(x, g):
    # Without the barrier the compiler stores the forward pass's exp and erf after all: 2.4 GB more
    # for EAT-base on 32 clips in bfloat16 on a GPU.
    x, g = jax.lax.optimization_barrier((x, g))
    return jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)[1](g)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_gradient)


def position_table(embed_dim: int, times: Length, bands: int) -> Float[Array | np.ndarray, "n d"]:
    """Returns fixed 2-D sine-cosine positions (times * bands, embed_dim), time-major.

    The first half of the channels encodes the band, the second half the time (EAT's mae.py, whose
    variable names say the opposite). The angles are float32, as there: float64 would differ by up
    to 8e-5. The table is a constant unless an export leaves the number of times open.
    """
    # NumPy gives a constant; a symbolic length in an export needs jnp.
    xp = np if isinstance(times, int) else jnp
    # Sine and cosine of band and time: four parts.
    quarter = embed_dim // 4
    omega = np.float32(1) / np.float32(10000) ** (
        np.arange(quarter, dtype=np.float32) / np.float32(quarter)
    )

    def encode(position):
        angles = position.astype(np.float32)[:, None] * omega[None]
        return xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=1)

    time, band = xp.divmod(xp.arange(times * bands), bands)
    return xp.concatenate([encode(band), encode(time)], axis=1)
