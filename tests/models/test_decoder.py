from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import decoder
from asd_jax.models.decoder import GroupedConvolution, TeacherHeads, frame_shares


@pytest.mark.parametrize(("size", "groups"), [(3, 1), (3, 4), (5, 2)])
def test_taps_add_up_to_a_grouped_convolution(size, groups):
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 8))
    convolution = GroupedConvolution(size, groups, jnp.float32)
    params = convolution.init(jax.random.key(1), x)["params"]
    params["bias"] = jnp.arange(8.0)
    dimensions = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        x,
        params["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=dimensions,
        feature_group_count=groups,
    )
    # measured 7.2e-7
    np.testing.assert_allclose(
        convolution.apply({"params": params}, x),
        expected + params["bias"][None, None, None],
        atol=3e-6,
    )


def test_an_accelerators_convolution_is_the_taps(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 8))
    convolution = GroupedConvolution(3, 4, jnp.float32)
    params = convolution.init(jax.random.key(1), x)["params"]
    params["bias"] = jnp.arange(8.0)
    taps = convolution.apply({"params": params}, x)
    gpu = SimpleNamespace(platform="gpu")
    monkeypatch.setattr(decoder, "target_device", lambda: gpu)
    whole = jax.make_jaxpr(lambda x: convolution.apply({"params": params}, x))(x)
    assert "conv_general_dilated" in str(whole)
    # measured 7.2e-7
    np.testing.assert_allclose(convolution.apply({"params": params}, x), taps, atol=3e-6)


def test_frames_share_the_patches_that_lie_in_them():
    np.testing.assert_allclose(
        frame_shares(2, 3), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(frame_shares(4, 4), np.eye(4))
    np.testing.assert_allclose(frame_shares(3, 1), np.ones((3, 1)))  # finer than the patches
    for count, times in ((7, 64), (117, 64), (21, 16)):
        shares = frame_shares(count, times)
        np.testing.assert_allclose(shares.sum(1), 1)
        np.testing.assert_allclose(shares.sum(0) * times / count, 1)  # no patch counts for more


def test_heads_see_the_mean_of_a_band_where_a_patch_is_hidden():
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4)), jnp.float32)
    kept = jnp.array([[0, 3, 4]])  # of 3 times x 2 bands: (0, 0), (1, 1), (2, 0)
    heads = TeacherHeads(((3, 5),))
    params = heads.init(jax.random.key(0), tokens, kept, 3, 2)["params"]

    def apply(params):
        return heads.apply({"params": params}, tokens, kept, 3, 2)[0]

    assert not np.asarray(apply(params)).any()  # the layers begin at zero
    kernel = np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32)
    params["teacher_0"]["kernel"] = jnp.asarray(kernel)
    first, second, third = np.asarray(tokens[0])
    low = (first + third) / 2
    frames = [[first, second], [low, second], [third, second]]
    expected = np.stack([np.concatenate(frame) @ kernel for frame in frames])
    np.testing.assert_allclose(apply(params)[0], expected, rtol=0, atol=2e-6)  # measured 5e-7
