from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import decoder
from asd_jax.models.decoder import GroupedConvolution


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
