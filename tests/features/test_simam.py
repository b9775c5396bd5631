import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.simam import MODES, simam, simam_by_clip, simam_weights

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(2, 64, 128)).astype(np.float32)


def reference(x, rows, columns, e_lambda=1e-4):
    """Plain loops over tiles in float64."""
    weights = np.empty(x.shape)
    for b in range(x.shape[0]):
        for i in range(0, x.shape[1], rows):
            for j in range(0, x.shape[2], columns):
                tile = x[b, i : i + rows, j : j + columns].astype(np.float64)
                d = (tile - tile.mean()) ** 2
                energy = d / (4 * (d.sum() / (tile.size - 1) + e_lambda)) + 0.5
                weights[b, i : i + rows, j : j + columns] = 1 / (1 + np.exp(-energy))
    return weights


# measured 3e-7 on the weights, 9e-7 on the product
@pytest.mark.parametrize("tile", [None, (32, 32), (16, 128)])
def test_agrees_with_float64_loops(tile):
    weights = reference(MAP, *(tile or (64, 128)))
    np.testing.assert_allclose(simam_weights(MAP, tile=tile), weights, rtol=0, atol=6e-7)
    np.testing.assert_allclose(simam(MAP, tile=tile), MAP * weights, rtol=0, atol=2e-6)


def test_agrees_on_log_energies_far_from_zero():
    x = MAP * 3 - 12
    # measured 3.8e-6
    np.testing.assert_allclose(simam(x), x * reference(x, 64, 128), rtol=0, atol=8e-6)


def test_weights_lie_between_0_622_and_1():
    weights = simam_weights(MAP)
    assert weights.min() >= 0.6224 and weights.max() < 1
    two_sigma = (
        np.abs(np.abs(MAP - MAP.mean((1, 2), keepdims=True)) - 2 * MAP.std((1, 2), keepdims=True))
        < 1e-3
    )
    # sigmoid(4/4 + 0.5)
    np.testing.assert_allclose(np.asarray(weights)[two_sigma], 0.8176, atol=1e-3)


def test_constant_map_gets_one_weight():
    np.testing.assert_allclose(
        simam(jnp.full((1, 32, 32), -15.9)), -15.9 / (1 + np.exp(-0.5)), rtol=1e-5
    )


def test_local_tiles_do_not_see_each_other():
    louder = MAP.copy()
    louder[:, :32, :32] *= 10
    before = simam_weights(MAP, tile=(32, 32))
    after = simam_weights(louder, tile=(32, 32))
    np.testing.assert_array_equal(before[:, 32:], after[:, 32:])
    np.testing.assert_array_equal(before[:, :, 32:], after[:, :, 32:])


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_padding_can_be_kept_out_of_the_statistics(tile):
    padded = np.pad(MAP, ((0, 0), (0, 32), (0, 0)), constant_values=0.467)
    alone = simam(MAP, tile=tile)
    ignored = simam(padded, tile=tile, valid_frames=64)
    np.testing.assert_allclose(ignored[:, :64], alone, atol=1e-6)
    assert np.isfinite(ignored).all()
    if tile is None:  # a whole map with its padding is another map
        assert np.abs(simam(padded)[:, :64] - alone).max() > 1e-2


def test_every_clip_can_have_its_own_mode():
    x = jnp.concatenate([MAP, MAP[:1]])
    ours = simam_by_clip(x, jnp.array([MODES.index(m) for m in ("local", "none", "global")]))
    np.testing.assert_array_equal(ours[1], x[1])
    # another batch size sums in another order: measured 4.8e-7
    np.testing.assert_allclose(ours[0], simam(x[:1], tile=(32, 32))[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours[2], simam(x[2:])[0], rtol=0, atol=1e-6)


def test_tile_that_does_not_divide_is_refused():
    with pytest.raises(
        ValueError, match="tile 32x32 does not divide a spectrogram of 50 frames x 128 filters"
    ):
        simam(jnp.zeros((1, 50, 128)), tile=(32, 32))
