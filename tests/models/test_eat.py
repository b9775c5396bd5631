import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_eat import flax_names, golden_eat

from asd_jax.models.eat import EAT, EATConfig, position_table, stacked_blocks

CONFIG = EATConfig(embed_dim=48, depth=3, num_heads=4)
LENGTHS = ["x1024", "x512", "x208", "x100"]


@pytest.fixture(scope="module")
def params():
    return golden_eat()


# Measured in float32 on CPU, largest over the lengths: pre_norm 2.6e-6, blocks 7.3e-6, FFN outputs
# 2.6e-6.
@pytest.mark.parametrize("length", LENGTHS)
def test_every_intermediate_is_the_public_codes(golden, params, length):
    arrays = golden("blocks")
    tokens, out = jax.jit(EAT(CONFIG).apply)(
        {"params": params}, arrays[length][:, 0].astype(np.float32)
    )
    stored = arrays[f"{length}_tokens"]
    np.testing.assert_allclose(
        out["pre_norm"][:, stored], arrays[f"{length}_pre_norm"], rtol=0, atol=6e-6
    )
    for i, block in enumerate(out["blocks"]):
        np.testing.assert_allclose(
            block[:, stored], arrays[f"{length}_block{i}"], rtol=0, atol=1.5e-5
        )
        if length == "x208":
            np.testing.assert_allclose(out["ffn"][i], arrays[f"{length}_ffn{i}"], rtol=0, atol=6e-6)
    np.testing.assert_array_equal(tokens, out["blocks"][-1])


def test_gradients_are_the_public_codes(golden, params):
    reference = golden("grads")
    x = jnp.asarray(golden("blocks")["x208"][:, 0], jnp.float32)

    def loss(params, x):
        return jnp.mean(EAT(CONFIG).apply({"params": params}, x)[0] ** 2)

    value, (by_params, by_input) = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)
    assert value == pytest.approx(float(reference["loss"]), rel=1e-6)
    # max|diff| / max|g| a tensor; measured 1.6e-6
    stored = {
        name.removeprefix("grad:"): reference[name]
        for name in reference.files
        if name.startswith("grad:")
    }
    pairs = [(by_input, stored.pop("input").reshape(by_input.shape))]
    ours = jax.tree_util.tree_flatten_with_path(by_params)[0]
    theirs = dict(jax.tree_util.tree_flatten_with_path(flax_names(stored))[0])
    pairs += [(gradient, theirs[path]) for path, gradient in ours if path in theirs]
    assert len(pairs) > 25
    for gradient, expected in pairs:
        assert np.abs(gradient - expected).max() <= 3.2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["D48_64x8", "D48_32x8", "D48_13x8"])
def test_position_table_is_exact(golden, name):
    times = int(name.split("_")[1].split("x")[0])
    np.testing.assert_array_equal(
        position_table(48, times, 8), golden("sincos")[name].reshape(-1, 48)
    )


@pytest.mark.parametrize("name", ["D768_64x8", "D768_768x8", "D1024_768x8"])
def test_position_table_of_the_public_sizes_is_exact(golden, name):
    arrays = golden("sincos")
    width, times = (int(part) for part in name.removeprefix("D").removesuffix("x8").split("_"))
    rows = arrays[f"{name}_rows"]
    values = arrays[f"{name}_values"]
    np.testing.assert_array_equal(position_table(width, times, 8)[rows], values)


def test_positions_of_a_short_clip_are_a_prefix():
    np.testing.assert_array_equal(position_table(48, 13, 8), position_table(48, 64, 8)[: 13 * 8])


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (EATConfig.base(), 85_254_144),
        (EATConfig.large(), 302_575_616),
        (EATConfig.tiny(), 5_388_288),
    ],
)
def test_sizes(config, parameters):
    spectrogram = jax.ShapeDtypeStruct((2, 1024, 128), jnp.float32)
    (tokens, out), variables = jax.eval_shape(
        EAT(config).init_with_output, jax.random.key(0), spectrogram
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters
    assert tokens.shape == (2, 513, config.embed_dim)
    assert len(out["blocks"]) == len(out["ffn"]) == config.depth


def test_half_precision_computes_in_bfloat16_near_float32(golden, params):
    x = jnp.asarray(golden("blocks")["x208"][:, 0], jnp.float32)
    half, _ = EAT(CONFIG, jnp.bfloat16).apply({"params": params}, x)
    full, _ = EAT(CONFIG).apply({"params": params}, x)
    assert half.dtype == jnp.bfloat16
    error = np.linalg.norm(half.astype(jnp.float32) - full) / np.linalg.norm(full)
    assert 1e-4 < error < 1.6e-2  # measured 7.6e-3; bfloat16 has 8 bits


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="width 50 must be divisible by 4 heads"):
        EATConfig(embed_dim=50, num_heads=4)
    with pytest.raises(ValueError, match="width 48 must be divisible by 5 heads"):
        EATConfig(embed_dim=48, num_heads=5)
    with pytest.raises(ValueError, match="multiple of 16 filters, not 100"):
        EATConfig(mel_bins=100)
    with pytest.raises(ValueError, match="at least 16 frames of 128 filters"):
        EAT(CONFIG).init(jax.random.key(0), jnp.zeros((1, 15, 128)))


def test_drop_path_leaves_branches_out_clip_by_clip_and_only_in_training(params):
    x = jax.random.normal(jax.random.key(0), (64, 32, 128))
    plain, _ = EAT(CONFIG).apply({"params": params}, x)
    module = EAT(CONFIG, drop_path=0.5)
    np.testing.assert_array_equal(module.apply({"params": params}, x)[0], plain)
    _, out = module.apply({"params": params}, x, rngs={"drop_path": jax.random.key(1)})
    _, same = EAT(CONFIG).apply({"params": params}, x)
    # the first block keeps all
    np.testing.assert_allclose(out["blocks"][0], same["blocks"][0], atol=1e-6)
    skipped = out["blocks"][1]
    for norm in ("norm1", "norm2"):
        skipped = nn.LayerNorm(1e-6).apply({"params": params["block_2"][norm]}, skipped)
    share = np.isclose(out["blocks"][2], skipped, atol=1e-5).all((1, 2)).mean()
    assert 0.1 < share < 0.4  # 0.5^2 of the clips skip both branches of the last block


@pytest.mark.slow
def test_recomputing_blocks_changes_nothing(params):
    x = jax.random.normal(jax.random.key(0), (2, 32, 128))

    def gradient(remat):
        return jax.jit(
            jax.grad(lambda p: (EAT(CONFIG, remat=remat).apply({"params": p}, x)[0] ** 2).mean())
        )(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradient(True), gradient(False)
    )


def test_blocks_in_a_loop_compute_the_same(params):
    module = EAT(CONFIG)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 128)), "f4")
    _, plain = module.apply({"params": params}, x)
    _, looped = module.apply({"params": stacked_blocks(params, 2)}, x)
    for name in ("blocks", "ffn"):
        assert len(looped[name]) == 2
        # measured: no difference
        np.testing.assert_allclose(looped[name], jnp.stack(plain[name][:2]), atol=1e-6)
