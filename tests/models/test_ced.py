"""CED against a second definition, in float64 NumPy and loops, with random weights under the public
names.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from asd_jax.models import ced
from asd_jax.models.ced import CED, CEDConfig, ced_params, decibel_mel
from asd_jax.runtime.errors import InputError
from benchmarks.examples import ced as example

WIDTH = 48
DEPTH = 2
HEADS = 4


def tensors():
    rng = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        return (scale * rng.normal(size=shape)).astype(np.float32)

    found = {
        "init_bn.1.weight": 1 + normal(64, scale=0.2),
        "init_bn.1.bias": normal(64, scale=0.2),
        "init_bn.1.running_mean": normal(64, scale=5) - 30,
        "init_bn.1.running_var": 200 + 50 * rng.random(64).astype(np.float32),
        "init_bn.1.num_batches_tracked": np.array(7),
        "patch_embed.proj.weight": normal(WIDTH, 1, 16, 16, scale=1 / 16),
        "patch_embed.proj.bias": normal(WIDTH, scale=0.1),
        "time_pos_embed": normal(1, WIDTH, 1, 63, scale=0.3),
        "freq_pos_embed": normal(1, WIDTH, 4, 1, scale=0.3),
        "outputlayer.1.weight": normal(5, WIDTH),
    }
    norms = ["norm", *(f"blocks.{i}.norm{n}" for i in range(DEPTH) for n in (1, 2))]
    for name in norms:
        found |= {f"{name}.weight": 1 + normal(WIDTH, scale=0.2)}
        found |= {f"{name}.bias": normal(WIDTH, scale=0.1)}
    layers = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for name, (out, into) in layers.items():
        for i in range(DEPTH):
            scale = 1.5 / np.sqrt(into * WIDTH)
            of = normal(out * WIDTH, into * WIDTH, scale=scale)
            found |= {f"blocks.{i}.{name}.weight": of}
            found |= {f"blocks.{i}.{name}.bias": normal(out * WIDTH, scale=0.1)}
    return found


TENSORS = tensors()


def expected_decibels(wave):
    """Frame by frame and filter by filter."""
    padded = np.pad(wave.astype(np.float64), 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = [padded[n : n + 512] * window for n in range(0, len(padded) - 511, 160)]
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (top * n / 65 / 2595) - 1) for n in range(66)]
    found = np.empty((len(frames), 64))
    for f in range(64):
        low, centre, high = edges[f : f + 3]
        hz = np.arange(257) * 31.25
        triangle = np.interp(hz, [low, centre, high], [0, 1, 0], left=0, right=0)
        found[:, f] = 10 * np.log10(np.maximum(power @ triangle, 1e-10))
    return np.maximum(found, found.max() - 120)


def expected_tokens(decibels):
    """Tokens of one clip "n d" in the public order (band, time), from the public tensors."""
    of = {name: value.astype(np.float64) for name, value in TENSORS.items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return unit * of[f"{name}.weight"] + of[f"{name}.bias"]

    def linear(x, name):
        return x @ of[f"{name}.weight"].T + of[f"{name}.bias"]

    x = (decibels - of["init_bn.1.running_mean"]) / np.sqrt(of["init_bn.1.running_var"] + 1e-5)
    x = x * of["init_bn.1.weight"] + of["init_bn.1.bias"]
    tokens = []
    for g in range(4):
        for t in range(len(x) // 16):
            patch = x[16 * t : 16 * t + 16, 16 * g : 16 * g + 16].T  # filter, then frame
            token = (of["patch_embed.proj.weight"][:, 0] * patch).sum((1, 2))
            token = token + of["patch_embed.proj.bias"] + of["time_pos_embed"][0, :, 0, t]
            tokens.append(token + of["freq_pos_embed"][0, :, g, 0])
    x = np.array(tokens)
    for i in range(DEPTH):
        q, k, v = np.split(linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv"), 3, axis=1)
        heads = []
        for q1, k1, v1 in zip(*(np.split(part, HEADS, axis=1) for part in (q, k, v)), strict=True):
            weights = np.exp(q1 @ k1.T / np.sqrt(WIDTH / HEADS))
            heads.append(weights / weights.sum(1, keepdims=True) @ v1)
        x = x + linear(np.concatenate(heads, 1), f"blocks.{i}.attn.proj")
        hidden = linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        x = x + linear(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"blocks.{i}.mlp.fc2")
    return norm(x, "norm")


def wave(samples, seed=0):
    rng = np.random.default_rng(seed)
    tone = 0.2 * np.sin(np.arange(samples) * 0.3) + 0.02 * rng.normal(size=samples)
    return tone.astype(np.float32)


def test_the_front_end_is_the_definition():
    found = decibel_mel(jnp.asarray(wave(8000))[None])[0]
    assert found.shape == (51, 64)
    np.testing.assert_allclose(found, expected_decibels(wave(8000)), atol=8e-5)  # measured 3.9e-5


def test_digital_silence_is_the_floor():
    np.testing.assert_allclose(decibel_mel(jnp.zeros((1, 1600))), -100, atol=1e-4)


@jax.jit
def tokens(decibels):
    config, params = ced_params(TENSORS, num_heads=HEADS)
    assert config == CEDConfig(WIDTH, DEPTH, HEADS)
    return CED(config).apply({"params": params}, decibels)


def test_the_tokens_are_the_definition():
    decibels = expected_decibels(wave(8000))
    found = tokens(jnp.asarray(decibels, jnp.float32)[None])
    assert found.shape == (1, 4, 3, WIDTH)
    expected = expected_tokens(decibels).reshape(4, 3, WIDTH)
    np.testing.assert_allclose(found[0], expected, atol=3e-6)  # measured 1.4e-6


def test_a_long_clip_is_cut_into_pieces_and_the_last_filled_up(monkeypatch):
    monkeypatch.setattr(ced, "MOST_FRAMES", 32)
    model = CED(CEDConfig(16, 1, 2))
    decibels = jax.random.normal(jax.random.key(0), (1, 40, 64))
    params = jax.jit(model.init)(jax.random.key(1), decibels)
    found = jax.jit(model.apply)(params, decibels)
    # At the start the input's normalisation changes nothing.
    pieces = jnp.concatenate([decibels, jnp.zeros((1, 24, 64))], 1).reshape(2, 32, 64)
    each = jax.jit(model.apply)(params, pieces)
    assert found.shape == (1, 4, 4, 16)
    np.testing.assert_allclose(found[0], jnp.concatenate([*each], 1), atol=1e-6)


def test_names_of_hugging_face_are_the_same_model():
    renamed = {
        f"encoder.{name.replace('init_bn.1.', 'init_bn.')}": t for name, t in TENSORS.items()
    }
    one = ced_params(TENSORS, HEADS)
    other = ced_params(renamed, HEADS)
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1]["patch"]["kernel"], other[1]["patch"]["kernel"])


@pytest.mark.parametrize(
    "change",
    [
        {"init_bn.1.running_var": None},
        {"blocks.0.attn.qkv.weight": np.zeros((2, 2), np.float32)},
        {"blocks.0.attn.gate.weight": np.zeros((2, 2), np.float32)},
        {"norm.bias": None},
    ],
)
def test_other_tensors_are_refused(change):
    tensors = {name: of for name, of in (TENSORS | change).items() if of is not None}
    with pytest.raises(InputError, match="not the tensors of a public CED"):
        ced_params(tensors, HEADS)


def test_the_example_names_the_variable_it_needs(monkeypatch):
    monkeypatch.delenv("CED_WEIGHTS", raising=False)
    with pytest.raises(InputError, match="CED_WEIGHTS='' names no file"):
        example.embed(np.zeros((1, 1600), np.float32), 16000)
