"""Defines CED, a pre-norm ViT on 64 mel filters that was distilled on AudioSet, and its front end.

It computes the same function as the public PyTorch code (github RicherMans/CED, models/
audiotransformer.py; Dinkel et al., ICASSP 2024), up to the tokens after the last norm. It is an
example of an encoder other than EAT: this file, benchmarks/examples/ced.py to run it and
tests/models/test_ced.py to compare it with an independent definition are all it takes.
"""

import dataclasses
import re
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from asd_jax.runtime.errors import InputError

SAMPLE_RATE = 16000
DFT = 512
HOP = 160
MELS = 64
PATCH = 16
FLOOR = 1e-10
TOP_DB = 120.0
NORM_EPS = 1e-6
MOST_FRAMES = 1012  # longer clips are cut into pieces of so many, as in the public code


@dataclasses.dataclass(frozen=True)
class CEDConfig:
    """Sizes of a CED; the defaults are those of CED-tiny, of 5.5 M parameters."""

    embed_dim: int = 192
    depth: int = 12
    num_heads: int = 3


def decibel_mel(wave: Float[Array, "b s"]) -> Float[Array, "b t f"]:
    """Returns mel energies in decibels "b t f" of waveforms "b s" at 16 kHz in [-1, 1].

    Frames of 512 samples (periodic Hann) every 160, centred and reflected: t = 1 + s // 160. The 64
    mel filters (HTK's scale, triangles linear in Hz) reach from 0 to 8 kHz. Values more than 120 dB
    below a clip's highest are raised to that.
    """
    padded = jnp.pad(wave, ((0, 0), (DFT // 2, DFT // 2)), mode="reflect")
    starts = np.arange(0, padded.shape[1] - DFT + 1, HOP)
    frames = padded[:, starts[:, None] + np.arange(DFT)]
    # hanning(n + 1) without its last value is the periodic window of length n.
    window = jnp.asarray(np.hanning(DFT + 1)[:-1], wave.dtype)
    power = jnp.abs(jnp.fft.rfft(frames * window[None, None])) ** 2
    energy = jnp.matmul(power, jnp.asarray(mel_filters().T, wave.dtype), precision="highest")
    decibels = 10 * jnp.log10(jnp.maximum(energy, FLOOR))
    return jnp.maximum(decibels, decibels.max((1, 2), keepdims=True) - TOP_DB)


def mel_filters() -> Float[np.ndarray, "f k"]:
    """Returns the weights (64, 257) of the mel filters on the DFT's power, in float64."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), MELS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.linspace(0, SAMPLE_RATE / 2, DFT // 2 + 1)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


class CED(nn.Module):
    """Maps decibels "b t f" to tokens "b bands times d" after the last norm.

    Frames that do not fill a patch of 16 are dropped. Pieces of long clips follow one another in
    time, the last filled up with zeros after the input's normalisation.

    Attributes:
        config: sizes.
    """

    config: CEDConfig = CEDConfig()

    @nn.compact
    def __call__(self, decibels: Float[Array, "b t f"]) -> Float[Array, "b g n d"]:
        c = self.config
        clips = len(decibels)
        # Batch normalisation with the statistics of the training, one per filter.
        scale = self.param("scale", nn.initializers.ones, (MELS,))
        shift = self.param("shift", nn.initializers.zeros, (MELS,))
        x = decibels * scale[None, None] + shift[None, None]
        if x.shape[1] > MOST_FRAMES:
            x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % MOST_FRAMES), (0, 0)))
            x = x.reshape(-1, MOST_FRAMES, MELS)
        x = x[:, : x.shape[1] // PATCH * PATCH]
        patches = rearrange(x, "b (t p) (g q) -> b g t (q p)", p=PATCH, q=PATCH)
        x = nn.Dense(c.embed_dim, name="patch")(patches)
        bands, times = x.shape[1:3]
        normal = nn.initializers.normal(0.02)
        longest = MOST_FRAMES // PATCH
        x = x + self.param("time_position", normal, (longest, c.embed_dim))[None, None, :times]
        x = x + self.param("band_position", normal, (bands, c.embed_dim))[None, :, None]
        x = rearrange(x, "b g t d -> b (g t) d")
        for number in range(c.depth):
            x = Block(c.num_heads, name=f"block_{number}")(x)
        x = nn.LayerNorm(NORM_EPS, name="norm")(x)
        x = rearrange(x, "b (g t) d -> b g t d", g=bands)
        return rearrange(x, "(b n) g t d -> b g (n t) d", b=clips)


class Block(nn.Module):
    """Maps tokens "b n d" to tokens "b n d": a pre-norm transformer block."""

    heads: int

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, name="qkv")(nn.LayerNorm(NORM_EPS, name="norm1")(x))
        q, k, v = rearrange(qkv, "b n (c h e) -> c b n h e", c=3, h=self.heads)
        attended = jax.nn.dot_product_attention(q, k, v)
        x = x + nn.Dense(width, name="out")(rearrange(attended, "b n h e -> b n (h e)"))
        hidden = nn.Dense(4 * width, name="fc1")(nn.LayerNorm(NORM_EPS, name="norm2")(x))
        return x + nn.Dense(width, name="fc2")(nn.gelu(hidden, approximate=False))


# Public name -> ours; the matrices of linear layers are transposed, and those of norms are scales.
_NAMES = {
    "patch_embed.proj": "patch",
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
    "norm1": "norm1",
    "norm2": "norm2",
    "norm": "norm",
}
_LEFT_OUT = re.compile(r"outputlayer\.|front_end\.|init_bn\.(1\.)?num_batches")


def ced_params(
    tensors: Mapping[str, np.ndarray], num_heads: int | None = None
) -> tuple[CEDConfig, dict]:
    """Returns the sizes and the parameters of `CED` for the tensors of a public checkpoint.

    The names may begin with "encoder.", as on Hugging Face (mispeech/ced-tiny). The classifier is
    left out.

    Args:
        tensors: {public name: values}.
        num_heads: number of attention heads, which the tensors do not show; None: heads of width
            64, as in the public sizes.

    Raises:
        InputError: a tensor is missing, is of another shape or is not known.
    """
    own = {name.removeprefix("encoder."): np.asarray(of) for name, of in tensors.items()}
    own = {name: of for name, of in own.items() if not _LEFT_OUT.match(name)}
    # Batch normalisation at inference is a scale and a shift, computed here once.
    found: dict[str, np.ndarray] = {}
    try:
        bn = "init_bn.1." if "init_bn.1.weight" in own else "init_bn."
        weight, bias, mean, variance = (
            own.pop(bn + name) for name in ("weight", "bias", "running_mean", "running_var")
        )
        found["scale"] = weight / np.sqrt(variance + 1e-5)  # PyTorch's eps of batch normalisation
        found["shift"] = bias - mean * found["scale"]
        found["time_position"] = own.pop("time_pos_embed")[0, :, 0].T
        found["band_position"] = own.pop("freq_pos_embed")[0, :, :, 0].T
        for name, of in own.items():
            module, kind = name.rsplit(".", 1)
            block = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
            place = f"block_{block[1]}/{_NAMES[block[2]]}" if block else _NAMES[module]
            if kind == "bias":
                found[f"{place}/bias"] = of
            elif "norm" in place:
                found[f"{place}/scale"] = of
            else:
                # The patch layer is a convolution in PyTorch, so its kernel is flattened first.
                found[f"{place}/kernel"] = of.reshape(len(of), -1).T
        width = len(found["patch/bias"])
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"not the tensors of a public CED: {error} is missing or odd") from error
    depth = len({name.split("/")[0] for name in found if name.startswith("block_")})
    config = CEDConfig(width, depth, num_heads or width // 64)
    params = unflatten_dict({name: np.float32(of) for name, of in found.items()}, sep="/")
    _check_shapes(config, params)
    return config, params


def _check_shapes(config: CEDConfig, params: dict) -> None:
    decibels = jax.ShapeDtypeStruct((1, PATCH, MELS), jnp.float32)
    # Shapes alone: nothing is computed.
    expected = jax.eval_shape(CED(config).init, jax.random.key(0), decibels)["params"]

    def shapes(tree):
        flat, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in flat}

    if odd := dict(set(shapes(params).items()) ^ set(shapes(expected).items())):
        raise InputError(f"not the tensors of a public CED: {', '.join(sorted(odd)[:3])}")
