import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import dot_product_attention as attention
from asd_jax.models.eat import EAT, EATConfig

BFLOAT16 = jnp.dtype("bfloat16")
FLOAT32 = jnp.dtype("float32")


def random(tokens, clips=2, heads=2, width=8):
    return jax.random.normal(jax.random.key(tokens), (clips, tokens, 3, heads, width))


@pytest.mark.parametrize("form", ["exact", "clip_by_clip", "auto"])
def test_attention_is_the_formula_in_every_form(form):
    qkv = random(9, clips=3)
    q, k, v = np.moveaxis(np.asarray(qkv, np.float64), 2, 0)
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(8)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("bhnm,bmhd->bnhd", weights, v)
    # measured 4.8e-7
    np.testing.assert_allclose(attention.attend(qkv, form), expected, atol=1e-6)


def test_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="'flash'; known: auto, exact, clip_by_clip, cudnn"):
        attention.attend(random(9), "flash")


@pytest.mark.parametrize("tokens", [1, 8, 104, 105, 513])
def test_tokens_filled_up_change_neither_values_nor_gradients(tokens):
    qkv = random(tokens)
    towards = random(tokens)[:, :, 0]

    def padded(qkv):
        filled = attention.padded_attention(qkv, "xla")
        assert filled.shape[1] % 8 == 0 and filled.shape[1] - tokens < 8
        return attention.without_fill(filled, tokens)

    found, back = jax.vjp(jax.jit(padded), qkv)
    expected, exact_back = jax.vjp(
        jax.jit(functools.partial(attention.attend, attention="exact")), qkv
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)  # measured 4.8e-7
    (gradient,) = back(towards)
    (exact,) = exact_back(towards)
    # max|diff| / max|g|; measured 3.4e-7
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=7e-7 * np.abs(exact).max())


def spoilt(x):
    """The same; but what stands behind 25 tokens is no number."""
    return jnp.where((jnp.arange(x.shape[1]) < 25)[None, :, None, None], x, jnp.nan)


@jax.custom_vjp
def with_spoilt_gradient(x):
    return x


with_spoilt_gradient.defvjp(lambda x: (x, None), lambda _, g: (spoilt(g),))


@pytest.mark.parametrize("remat", [pytest.param(False, marks=pytest.mark.slow), True])
def test_nothing_is_seen_of_what_the_kernel_leaves_in_the_fill(monkeypatch, remat):
    config = EATConfig(embed_dim=32, depth=2, num_heads=2)
    x = jax.random.normal(jax.random.key(0), (2, 48, 128))  # 25 tokens
    params = EAT(config).init(jax.random.key(1), x)["params"]
    plain = jax.nn.dot_product_attention
    calls = []

    def kernel(q, k, v, query_seq_lengths, key_value_seq_lengths, implementation):
        calls.append((q.shape[1], implementation))
        lengths = {"query_seq_lengths": query_seq_lengths}
        lengths["key_value_seq_lengths"] = key_value_seq_lengths
        q, k, v = map(with_spoilt_gradient, (q, k, v))
        return spoilt(plain(q, k, v, **lengths, implementation="xla"))

    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)

    @functools.partial(jax.jit, static_argnums=1)
    def loss_and_gradients(params, form):
        def loss(params):
            tokens = EAT(config, attention=form, remat=remat).apply({"params": params}, x)[0]
            return jnp.square(tokens - 1).mean()

        return jax.value_and_grad(loss)(params)

    loss, gradients = loss_and_gradients(params, "cudnn")
    assert set(calls) == {(32, "cudnn")}
    exact_loss, exact = loss_and_gradients(params, "exact")
    np.testing.assert_allclose(loss, exact_loss, rtol=1e-6)
    for found, expected in zip(jax.tree.leaves(gradients), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


class Device:
    def __init__(self, platform):
        self.platform = platform


def gpu(capability):
    device = Device("gpu")
    device.compute_capability = capability
    device.device_kind = f"GPU {capability}"
    return device


@pytest.mark.parametrize(
    ("device", "dtype", "form"),
    [
        (gpu("8.0"), BFLOAT16, "cudnn"),
        (gpu("10.0"), jnp.dtype("float16"), "cudnn"),
        (gpu("8.0"), FLOAT32, "exact"),
        (gpu("gfx90a"), BFLOAT16, "exact"),
        (Device("cpu"), BFLOAT16, "clip_by_clip"),
        (Device("tpu"), BFLOAT16, "exact"),
    ],
)
def test_the_fused_kernel_is_for_half_precision_on_nvidias_gpus(monkeypatch, device, dtype, form):
    monkeypatch.setattr(attention, "refusal", lambda *_: "")
    assert attention.fastest_attention(device, 513, 12, 64, dtype) == form


def test_what_the_kernel_refuses_is_computed_by_the_formula_and_said_once(monkeypatch, capsys):
    monkeypatch.setattr(attention, "target_device", lambda: old)
    old = gpu("7.5")
    qkv = random(9).astype(jnp.bfloat16)
    for _ in range(12):
        found = attention.attend(qkv)
    np.testing.assert_array_equal(found, attention.attend(qkv, "exact"))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "attention by the formula, as cuDNN's fused kernel refuses: it needs compute capability "
        "8.0, GPU 7.5 has 7.5"
    ]


def test_a_refusal_is_a_line_of_whoever_refuses(monkeypatch):
    monkeypatch.setattr(attention, "SingleDeviceSharding", lambda device: None)

    def refuses(*_, **__):
        raise NotImplementedError("Unsupported sequence length\nwith a long story")

    monkeypatch.setattr(jax.nn, "dot_product_attention", refuses)
    why = attention.refusal(gpu("9.0"), 513, 12, 64, BFLOAT16)
    assert why == "Unsupported sequence length"


def test_a_kernel_that_compiles_is_not_refused_whatever_is_traced_around(monkeypatch):
    monkeypatch.setattr(attention, "SingleDeviceSharding", lambda device: None)
    plain = jax.nn.dot_product_attention
    monkeypatch.setattr(
        jax.nn,
        "dot_product_attention",
        lambda *args, implementation, **lengths: plain(*args, **lengths, implementation="xla"),
    )
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    device = gpu("9.0")
    found = []

    @jax.jit
    def program(x):
        found.append(attention.refusal(device, 9, 2, 8, BFLOAT16))
        return x

    with jax.set_mesh(mesh):
        program(jnp.ones(8))
    assert found == [""]
