import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.models import devices


def test_programs_are_made_for_jaxs_default_device():
    third = jax.devices()[3]
    with jax.default_device(third):
        assert devices.target_device() is third
    with jax.default_device("cpu"):
        assert devices.target_device() is jax.devices("cpu")[0]
    with jax.default_device(None):
        assert devices.target_device() is jax.local_devices()[0]


def test_each_device_does_its_own_clips_and_gradients_of_what_is_whole_add_up():
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "shard"))
    x = jax.random.normal(jax.random.key(0), (16, 4))
    w = jnp.arange(12.0).reshape(4, 3)
    rows = []

    def product(x, w):
        rows.append(len(x))
        return x @ w

    def loss(x, w):
        return jnp.square(devices.map_own_clips(product, x, w)).sum()

    expected = jax.grad(loss, (0, 1))(x, w)
    with jax.set_mesh(mesh):
        own = jax.device_put(x, jax.NamedSharding(mesh, jax.P(("data", "shard"))))
        found = jax.jit(jax.grad(loss, (0, 1)))(own, w)
    assert rows == [16, 2]
    for gradient, alone in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, alone, rtol=1e-6)
