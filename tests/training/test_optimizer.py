import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.training.optimizer import adamw, learning_rate_schedule


def test_schedule_rises_linearly_then_follows_a_cosine():
    schedule = learning_rate_schedule(1e-3, 100, 0.1)
    assert [float(schedule(n)) for n in (0, 5, 10, 100)] == pytest.approx([0, 5e-4, 1e-3, 0], abs=1e-9)
    assert float(schedule(55)) == pytest.approx(5e-4, rel=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_schedule_of_a_few_steps_is_finite(steps):
    assert np.isfinite([float(learning_rate_schedule(1e-3, steps, 0.5)(n)) for n in range(4)]).all()


def test_weight_decay_is_on_matrices_only():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "cls": jnp.ones(2)}
    optimizer = adamw(optax.constant_schedule(0.1), weight_decay=0.5, clip_norm=1.0)
    zero = {name: jnp.zeros_like(value) for name, value in params.items()}
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05)
    np.testing.assert_array_equal(updates["bias"], 0)
    np.testing.assert_array_equal(updates["cls"], 0)


def test_gradients_are_clipped_to_a_global_norm():
    optimizer = adamw(optax.constant_schedule(0.1), weight_decay=0.0, clip_norm=1.0)
    params = {"a": jnp.zeros(3)}
    state = optimizer.init(params)
    direction = jnp.array([3.0, 0.0, 4.0])
    _, large = optimizer.update({"a": 1000 * direction}, state, params)
    _, unit = optimizer.update({"a": direction / 5}, state, params)
    moments = [optax.tree_utils.tree_get(s, "mu")["a"] for s in (large, unit)]
    np.testing.assert_allclose(*moments, rtol=1e-6)
