"""Computes multi-head self-attention in the form that is fastest on the target device."""

import functools
import re
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
from einops import rearrange
from jax.sharding import SingleDeviceSharding
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asd_jax.features.simam import Length
from asd_jax.models.devices import map_own_clips, target_device
from asd_jax.runtime.log import print_error

IMPLEMENTATIONS = ("exact", "clip_by_clip", "cudnn")
# The number of tokens is padded to a multiple of 8: cuDNN needs an even number in training, and
# tensor cores work on 8.
MULTIPLE = 8


def attend(qkv: Float[Array, "b n 3 h d"], attention: str = "auto") -> Float[Array, "b n h d"]:
    """Returns softmax(q k' / sqrt(d)) v of all heads, "b n h d"; the softmax is computed in
    float32.

    Args:
        qkv: queries, keys and values of every token.
        attention: "exact", the formula; "clip_by_clip", the formula for one clip after the other,
            whose weights then fit into a CPU's cache (2 to 3 times as fast there); "cudnn", the
            fused kernel, in half precision on NVIDIA GPUs only; "auto", the fastest that the device
            supports, see `fastest_attention`.
    """
    return without_fill(attend_filled(qkv, attention), qkv.shape[1])


def without_fill(filled: Float[Array, "b m h d"], tokens: Length) -> Float[Array, "b n h d"]:
    """Returns the first `tokens` tokens, without the padding behind them."""
    return filled if filled.shape[1] == tokens else filled[:, :tokens]


def attend_filled(
    qkv: Float[Array, "b n 3 h d"], attention: str = "auto"
) -> Float[Array, "b m h d"]:
    """Returns the same as `attend`, possibly with padding tokens behind the others.

    The fused kernel leaves undefined values there, so the caller must cut off the padding with
    `without_fill` before using the result.
    """
    if attention == "auto":
        clips, tokens, _, heads, width = qkv.shape
        fixed = isinstance(clips, int)  # in an export the number of clips is a symbol
        shape = (tokens, heads, width, qkv.dtype)
        attention = fastest_attention(target_device(), *shape) if fixed else "exact"
    if attention not in IMPLEMENTATIONS:
        raise ValueError(f"attention {attention!r}; known: auto, {', '.join(IMPLEMENTATIONS)}")
    return map_own_clips(functools.partial(_attend_as, attention), qkv)


def padded_attention(
    qkv: Float[Array, "b n 3 h d"], implementation: str
) -> Float[Array, "b m h d"]:
    """Returns the attention computed by `jax.nn.dot_product_attention`, with m tokens.

    m is the number of tokens rounded up to a multiple of 8. No token attends to the padding, and
    the gradient of the padding is cut off here, whatever it is.

    Args:
        qkv: queries, keys and values of every token.
        implementation: "cudnn", or "xla": JAX's own plain form of the same call, for any device.
    """
    clips, tokens = qkv.shape[:2]
    fill = -tokens % MULTIPLE
    lengths = None
    if fill:
        qkv = jnp.pad(qkv, ((0, 0), (0, fill), (0, 0), (0, 0), (0, 0)))
        # Lengths instead of a mask, which would be an array of n x n values.
        lengths = jnp.full(clips, tokens, jnp.int32)
    return jax.nn.dot_product_attention(
        qkv[:, :, 0],
        qkv[:, :, 1],
        qkv[:, :, 2],
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation=implementation,
    )


def fastest_attention(device, tokens: int, heads: int, width: int, dtype: DTypeLike) -> str:
    """Returns what "auto" means on a device, for this number of tokens and heads of this width.

    If an NVIDIA GPU refuses the fused kernel, one line reports this and the reason.
    """
    if device.platform == "cpu":
        return "clip_by_clip"
    # cuDNN's kernel exists only for half precision on NVIDIA GPUs. Their compute capability is a
    # number such as 9.0; that of AMD GPUs begins with gfx.
    nvidia = re.fullmatch(r"\d+\.\d+", str(getattr(device, "compute_capability", "")))
    if not nvidia or dtype not in (jnp.bfloat16, jnp.float16):
        return "exact"
    if why := refusal(device, tokens, heads, width, dtype):
        _say_once(f"attention by the formula, as cuDNN's fused kernel refuses: {why}")
        return "exact"
    return "cudnn"


@functools.cache
def refusal(device, tokens: int, heads: int, width: int, dtype: DTypeLike) -> str:
    """Returns why cuDNN cannot compute attention on a device, forward and backward; "" if it can.

    This is found out by compiling it for one clip. A compiler without the device does not know that
    cuDNN needs Ampere or later, so that is checked separately.
    """
    if float(device.compute_capability) < 8:
        had = f"{device.device_kind} has {device.compute_capability}"
        return f"it needs compute capability 8.0, {had}"

    def loss(qkv):
        attended = without_fill(padded_attention(qkv, "cudnn"), tokens)
        return attended.astype(jnp.float32).sum()

    def compiled():
        here = SingleDeviceSharding(device)
        qkv = jax.ShapeDtypeStruct((1, tokens, 3, heads, width), dtype)
        jax.jit(jax.grad(loss), in_shardings=here, out_shardings=here).lower(qkv).compile()

    try:
        # A separate thread is outside the mesh and the tracing that surround this call.
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(compiled).result()
    except Exception as error:  # JAX, XLA and cuDNN each refuse in their own way
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""


_say_once = functools.cache(print_error)


def _attend_as(attention, qkv):
    if attention == "clip_by_clip":
        # Recomputing the weights for the gradient keeps them in the cache; stored ones would not
        # be there.
        return jax.lax.map(jax.checkpoint(_attend_clip), qkv)
    if attention == "exact":
        return jax.vmap(_attend_clip)(qkv)
    return padded_attention(qkv, "cudnn")


def _attend_clip(qkv):
    q, k, v = rearrange(qkv, "n three h d -> three h n d")
    # The logits are float32 even in half precision, so that the softmax is computed in float32.
    logits = jnp.einsum(
        "hnd,hmd->hnm",
        # Scaling q costs n x d products, scaling the logits n x n.
        q * q.shape[-1] ** -0.5,
        k,
        preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
    )
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return rearrange(jnp.einsum("hnm,hmd->hnd", weights, v), "h n d -> n h d")
