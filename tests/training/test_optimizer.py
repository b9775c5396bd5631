import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from asd_jax.training.optimizer import (
    Layerwise,
    adamw,
    join,
    layer_multiplier,
    learning_rate_schedule,
    split,
    thaw_stage,
)


def test_schedule_rises_linearly_then_follows_a_cosine():
    schedule = learning_rate_schedule(1e-3, 100, 0.1)
    assert [float(schedule(n)) for n in (0, 5, 10, 100)] == pytest.approx(
        [0, 5e-4, 1e-3, 0], abs=1e-9
    )
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


@pytest.mark.parametrize(
    ("options", "b2", "decays"),
    [({}, 0.999, False), ({"b2": 0.95, "decay_everything": True}, 0.95, True)],
)
def test_the_optimiser_is_adamw(options, b2, decays):
    """As optax has it, with gradients below the norm at which they are clipped."""
    schedule = optax.linear_schedule(0.1, 0.2, 4)
    ours = adamw(schedule, weight_decay=0.5, clip_norm=100.0, **options)
    mask = None if decays else {"kernel": True, "bias": False}
    theirs = optax.adamw(schedule, b2=b2, weight_decay=0.5, mask=mask)
    params = [{"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}] * 2
    states = [optimizer.init(params[0]) for optimizer in (ours, theirs)]
    for size in (1.0, -3.0, 0.5):
        gradients = jax.tree.map(lambda p, size=size: p * size, params[0])
        for n, optimizer in enumerate((ours, theirs)):
            updates, states[n] = optimizer.update(gradients, states[n], params[n])
            params[n] = optax.apply_updates(params[n], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *params)


PARAMS = {
    "encoder": {
        "eat": {
            name: {"kernel": jnp.ones((2, 2))}
            for name in ("patch", "block_0", "block_1", "block_2")
        },
        "pooling": {"kernel": jnp.ones((2, 2))},
    },
    "head": {"centres": jnp.ones((2, 2))},
}


def moves(optimizer, steps):
    """What each step does to each parameter, under a gradient of ones."""
    state = optimizer.init(PARAMS)
    seen = []
    for _ in range(steps):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS)
        seen.append({"/".join(path): float(u[0, 0]) for path, u in flatten_dict(updates).items()})
    return seen


def test_layer_decay_is_eats_formula():
    optimizer = adamw(
        optax.constant_schedule(1e-3),
        weight_decay=0.0,
        clip_norm=1e9,
        layers=Layerwise(3, decay=0.65),
    )
    first = moves(optimizer, 1)[0]
    for block in range(3):  # block i of depth 3: 0.65^(3 - i), so the last 0.65
        assert first[f"encoder/eat/block_{block}/kernel"] == pytest.approx(
            -1e-3 * 0.65 ** (3 - block), rel=1e-5
        )
    for name in ("encoder/eat/patch/kernel", "encoder/pooling/kernel", "head/centres"):
        assert first[name] == pytest.approx(-1e-3, rel=1e-5)
    assert layer_multiplier("encoder/eat/block_0/fc1/kernel", 0.65, 12) == pytest.approx(
        0.0057, abs=1e-4
    )


def test_blocks_above_the_pooled_one_count_as_the_last():
    optimizer = adamw(
        optax.constant_schedule(1e-3),
        weight_decay=0.0,
        clip_norm=1e9,
        layers=Layerwise(2, decay=0.5),
    )
    first = moves(optimizer, 1)[0]
    rates = [first[f"encoder/eat/block_{block}/kernel"] / -1e-3 for block in range(3)]
    assert rates == pytest.approx([0.25, 0.5, 0.5], rel=1e-5)
    assert [thaw_stage(f"encoder/eat/block_{block}/kernel", 2) for block in range(3)] == [2, 1, 1]


def test_weight_decay_follows_the_layers_rate():
    optimizer = adamw(
        optax.constant_schedule(0.1),
        weight_decay=0.5,
        clip_norm=1.0,
        layers=Layerwise(3, decay=0.5),
    )
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = optimizer.update(zero, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["encoder"]["eat"]["block_2"]["kernel"], -0.05 * 0.5)


def test_blocks_thaw_one_by_one_from_the_last():
    optimizer = adamw(
        optax.constant_schedule(1e-3),
        weight_decay=0.1,
        clip_norm=1e9,
        layers=Layerwise(3, thaw_every=2.0),
    )
    seen = moves(optimizer, 8)
    thawed = {name: [step[name] != 0 for step in seen].index(True) for name in seen[0]}
    assert thawed == {
        "head/centres": 0,
        "encoder/pooling/kernel": 0,
        "encoder/eat/block_2/kernel": 2,
        "encoder/eat/block_1/kernel": 4,
        "encoder/eat/block_0/kernel": 6,
        "encoder/eat/patch/kernel": 6,
    }
    plain = moves(adamw(optax.constant_schedule(1e-3), weight_decay=0.1, clip_norm=1e9), 1)[0]
    # Adam starts anew
    assert seen[4]["encoder/eat/block_1/kernel"] == pytest.approx(plain["head/centres"], rel=1e-5)


def test_frozen_gradients_do_not_count_in_the_norm():
    optimizer = adamw(
        optax.constant_schedule(1e-3),
        weight_decay=0.0,
        clip_norm=1.0,
        layers=Layerwise(3, thaw_every=5.0),
    )
    _, state = optimizer.update(jax.tree.map(jnp.ones_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    moments = [
        mu
        for path, mu in jax.tree_util.tree_flatten_with_path(state)[0]
        if ".mu" in jax.tree_util.keystr(path)
    ]
    # mu is a tenth of the gradient
    norm = np.sqrt(sum(float((10 * m**2).sum()) * 10 for m in moments))
    assert norm == pytest.approx(1.0, rel=1e-5)


def test_without_layers_of_their_own_all_parameters_learn_alike():
    assert (Layerwise().depth, Layerwise().decay, Layerwise().thaw_every) == (0, 1.0, 0.0)
    first = moves(adamw(optax.constant_schedule(1e-3), weight_decay=0.0, clip_norm=1e9), 1)[0]
    assert set(first.values()) == {first["head/centres"]}


def test_what_is_outside_of_eat_learns_at_the_full_rate_from_the_start():
    paths = ("head/centres", "encoder/eat/patch/kernel", "encoder/eat/block_1/fc1/kernel")
    assert [layer_multiplier(path, 0.5, 3) for path in paths] == [1.0, 1.0, 0.25]
    assert [thaw_stage(path, 3) for path in paths] == [0, 3, 2]


def test_parts_of_parameters_come_together_again():
    chosen, rest = split(PARAMS, lambda path: "block_1" in path)
    assert (
        list(flatten_dict(chosen)) == [("encoder", "eat", "block_1", "kernel")]
        and len(flatten_dict(rest)) == 5
    )
    jax.tree.map(np.testing.assert_array_equal, join(chosen, rest), PARAMS)
    assert join(*split(PARAMS, lambda path: False)) == PARAMS
