"""Distillation: the scale of targets, the loss, what it learns, and how a collapse is noticed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.decoder import TeacherHeads
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.distillation import (
    TargetScale,
    distillation_losses,
    initial_heads,
    target_scales,
    unit,
)
from asd_jax.training.loop import BadState
from asd_jax.training.pretraining import (
    CollapseWatch,
    Student,
    initial_state,
    make_pretraining_step,
)
from asd_jax.training.settings import Pretraining
from asd_jax.training.weights import random_eat

SMALL = EATConfig(embed_dim=32, depth=1, num_heads=2)
SETTINGS = Pretraining(
    objective="distill", teachers="a.b:c", steps=40, batch_size=4, views=1, mask_share=0.5
)


def batch_of(targets, known):
    return {"target_0": np.asarray(targets, np.float32), "known_0": np.asarray(known, np.float32)}


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 8, 5, 6)) * rng.uniform(0.1, 10, (3, 8, 5, 1)) + 1


def test_targets_are_unit_vectors_minus_their_mean_at_one_scale(frames):
    known = np.ones((3, 8))
    known[1, 2:5] = 0
    (scale,) = target_scales(["t"], [batch_of(f, k) for f, k in zip(frames, known, strict=True)])
    seen = frames[known > 0].reshape(-1, 6)
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    np.testing.assert_allclose(scale.mean, seen.mean(0), rtol=0, atol=2e-7)  # measured 3e-8
    expected = np.sqrt(((seen - seen.mean(0)) ** 2).mean())
    assert scale.deviation == pytest.approx(expected, rel=1e-6)
    scaled = np.asarray(scale.scaled(jnp.asarray(frames[0], jnp.float32)), np.float64)
    directions = frames[0] / np.linalg.norm(frames[0], axis=-1, keepdims=True)
    np.testing.assert_allclose(
        scaled, (directions - seen.mean(0)) / expected, rtol=0, atol=5e-6
    )  # measured 1e-6


def test_distances_of_targets_are_the_teachers_cosine_distances(frames):
    (scale,) = target_scales(["t"], [batch_of(frames[0], np.ones(8))])
    flat = frames[0].reshape(-1, 6)
    targets = np.asarray(scale.scaled(jnp.asarray(flat[None], jnp.float32)))[0]
    cosine = (flat @ flat.T) / np.outer(*[np.linalg.norm(flat, axis=1)] * 2)
    squared = np.square(targets[:, None] - targets[None]).sum(-1)
    np.testing.assert_allclose(squared * scale.deviation**2, 2 - 2 * cosine, rtol=0, atol=5e-6)


def test_a_vector_of_zeros_has_no_direction_and_stays():
    assert np.asarray(unit(jnp.zeros((2, 3)))).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([batch_of(np.ones((2, 1, 3)), [1, 1])], "t gives the same frame for every sound"),
        ([batch_of(np.zeros((2, 1, 3)), [1, 1])], "t gives the same frame for every sound"),
        ([batch_of(np.ones((2, 1, 3)), [0, 0])], "t has no targets for these recordings"),
        (
            [batch_of(np.ones((2, 1, n)), [1, 1]) for n in (3, 12)],
            "t gives frames of 3 and of 12 values; their number must not depend on the length",
        ),
    ],
)
def test_a_teacher_that_teaches_nothing_is_named(batches, message):
    with pytest.raises(InputError, match=message):
        target_scales(["t"], batches)


@pytest.mark.parametrize("deviation", [0.9e-6, 1.1e-6])
def test_frames_must_differ_by_more_than_rounding(deviation):
    """By 1e-6, of unit vectors: here every other frame is turned by a small angle."""
    angle = np.pi / 4 + 8**0.5 * deviation * np.array([0.0, 1.0, 0.0, 1.0])
    frames = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    batches = [batch_of(frames, np.ones(4))]
    if deviation < 1e-6:
        with pytest.raises(InputError, match="the same frame for every sound"):
            target_scales(["t"], batches)
    else:
        # In float32, the values are known to 3e-8.
        assert target_scales(["t"], batches)[0].deviation == pytest.approx(deviation, abs=6e-8)


def test_each_teacher_has_its_own_scale(frames):
    batch = batch_of(frames[0], np.ones(8))
    batch |= {"target_1": np.asarray(frames[1, :, :, :3], np.float32), "known_1": np.ones(8)}
    scales = target_scales(["a", "b"], [batch, batch])
    assert [(scale.name, scale.width) for scale in scales] == [("a", 6), ("b", 3)]
    assert repr(scales[0]) == f"TargetScale(name='a', deviation={scales[0].deviation!r})"
    alone = batch_of(frames[1, :, :, :3], np.ones(8))
    np.testing.assert_allclose(scales[1].mean, target_scales(["b"], [alone])[0].mean, atol=1e-7)


def test_other_objectives_take_no_batches_to_measure_a_scale():
    batches = iter([1, 2])
    assert target_scales([], batches) == () and next(batches) == 1


SCALES = tuple(
    TargetScale(name, np.full(e, 0.1, np.float32), 0.5) for name, e in (("a", 6), ("b", 3))
)


@pytest.fixture(scope="module")
def losses():
    """(parameters, batch, the function of both that gives the loss, its parts and gradients)."""
    eat = random_eat(SMALL, 0)
    heads = initial_heads(SMALL, SCALES, jax.random.key(0))
    rng = np.random.default_rng(1)
    spectrogram = jnp.asarray(rng.normal(size=(4, 32, 128)), jnp.float32)
    kept = jnp.asarray([[rng.permutation(16)[:9] for _ in range(2)] for _ in range(4)], jnp.int32)
    batch = {
        f"target_{n}": jnp.asarray(rng.normal(size=(4, t, e)), jnp.float32)
        for n, (t, e) in enumerate(((2, 6), (1, 3)))
    }

    @jax.jit
    def of(params, batch):
        return jax.value_and_grad(
            lambda params: distillation_losses(SMALL, SCALES, params, spectrogram, kept, batch),
            has_aux=True,
        )(params)

    return {"eat": eat, "decoder": heads}, batch, of


def with_known(batch, first, second):
    known = {"known_0": np.array(first, np.float32), "known_1": np.array(second, np.float32)}
    return {**batch, **known}


def squares(batch, n, rows):
    frames = np.asarray(batch[f"target_{n}"], np.float64)[rows]
    frames = frames / np.linalg.norm(frames, axis=-1, keepdims=True)
    return np.square((frames - 0.1) / 0.5).mean()


def test_at_first_the_loss_is_the_variance_of_the_known_targets(losses):
    params, batch, of = losses
    (loss, parts), _ = of(params, with_known(batch, [1, 1, 0, 1], [0, 0, 1, 0]))
    expected = squares(batch, 0, [0, 1, 3]) + squares(batch, 1, [2])
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(parts["explained_0"]) == float(parts["explained_1"]) == 0
    assert float(parts["prediction_spread"]) == 0


def test_clips_without_a_target_change_nothing(losses):
    params, batch, of = losses
    known = with_known(batch, [1, 1, 0, 1], [1, 0, 1, 1])
    other = dict(known)
    other["target_0"] = known["target_0"].at[2].set(7.0)
    other["target_1"] = known["target_1"].at[1].set(-7.0)
    jax.tree.map(np.testing.assert_array_equal, of(params, known), of(params, other))


def test_a_batch_without_any_target_teaches_nothing_and_is_finite(losses):
    params, batch, of = losses
    (loss, parts), gradients = of(params, with_known(batch, [0] * 4, [0] * 4))
    assert float(loss) == 0 and float(parts["explained_0"]) == 0
    assert all(np.isfinite(value) for value in parts.values())
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients))


def test_spread_and_share_explained_follow_the_predictions(losses):
    params, batch, of = losses
    heads = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(0), leaf.shape) * 0.05, params["decoder"]
    )
    known = with_known(batch, [1, 1, 1, 1], [0, 0, 0, 0])
    (loss, parts), gradients = of({**params, "decoder": heads}, known)
    nothing = squares(batch, 0, slice(None))
    assert float(parts["explained_0"]) == pytest.approx(1 - float(loss) / nothing, abs=1e-5)
    assert float(parts["prediction_spread"]) > 0.01
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients["eat"]))


def test_the_spread_is_the_deviation_of_each_value_averaged_over_values_and_teachers(
    losses, monkeypatch
):
    params, batch, _ = losses
    rng = np.random.default_rng(2)
    views = [rng.normal(size=(8, t, e)) for t, e in ((2, 6), (1, 3))]
    monkeypatch.setattr(EAT, "apply", lambda self, *of: (jnp.zeros((8, 10, 32)), {}))
    monkeypatch.setattr(TeacherHeads, "apply", lambda self, *of, **to: [*map(jnp.asarray, views)])
    kept = jnp.zeros((4, 2, 9), jnp.int32)
    known = with_known(batch, [1, 1, 0, 1], [1, 0, 0, 0])
    spectrogram = jnp.zeros((4, 32, 128))
    loss, parts = distillation_losses(SMALL, SCALES, params, spectrogram, kept, known)
    spread = np.mean([np.sqrt(view.var((0, 1)).mean()) for view in views])
    assert float(parts["prediction_spread"]) == pytest.approx(spread, rel=1e-5)
    total = 0.0
    for n, rows in ((0, [0, 1, 3]), (1, [0])):
        frames = np.asarray(batch[f"target_{n}"], np.float64)[rows]
        targets = (frames / np.linalg.norm(frames, axis=-1, keepdims=True) - 0.1) / 0.5
        # The two views of a clip follow each other, and have the same target.
        error = np.square(views[n].reshape(4, 2, *views[n].shape[1:])[rows] - targets[:, None])
        total += error.mean()
        explained = 1 - error.mean() / np.square(targets).mean()
        assert float(parts[f"explained_{n}"]) == pytest.approx(explained, rel=1e-5)
    assert float(loss) == pytest.approx(total, rel=1e-6)


def test_a_collapse_of_the_predictions_stops_distillation_only_after_the_warm_up():
    watch = CollapseWatch.of(dataclasses.replace(SETTINGS, warmup_fraction=0.5))
    metrics = {"prediction_spread": 0.01, "explained_0": 0.0}
    watch(20, metrics)
    with pytest.raises(BadState, match="step 21: .* prediction_spread is 0.01 .* other teachers"):
        watch(21, metrics)
    watch(21, {"prediction_spread": 0.1})
    fixed = dataclasses.replace(SETTINGS, objective="masked_autoencoder", teachers="")
    CollapseWatch.of(fixed)(40, {"prediction_spread": 0.0, "target_spread": 0.0})


@pytest.mark.slow
@pytest.mark.parametrize("mask_share", [0.0, 0.5])
def test_the_loss_falls_on_a_teacher_that_can_be_learnt(mask_share):
    # The teacher says which of two tones plays in each half of a clip.
    rng = np.random.default_rng(0)
    high = rng.integers(2, size=(16, 2))
    second = np.arange(5200) / 16000
    tones = 0.05 * np.sin(2 * np.pi * np.array([[500.0], [4000.0]]) * second)
    wave = np.concatenate([tones[high[:, 0]], tones[high[:, 1]]], axis=1)[:, : 400 + 63 * 160]
    batch = {"wave": jnp.asarray(wave, jnp.float32), **batch_of(np.eye(2)[high], np.ones(16))}
    settings = dataclasses.replace(SETTINGS, mask_share=mask_share, mask_block=1)
    scales = target_scales(["tones"], [batch])
    optimizer = optax.adam(3e-3)
    student = Student(SMALL, settings, scales=scales)
    state = initial_state(student, optimizer, jax.random.key(0))
    front = FrontEnd(simam=SimAM("none"))
    step = make_pretraining_step(student, front, optimizer, lambda step: 3e-3)
    take = jax.jit(step, donate_argnums=0)
    for _ in range(60):
        state, metrics = take(state, batch, jax.random.key(2))
    assert float(metrics["explained_0"]) > 0.5  # measured .98 and, half hidden, .77
    assert state.teacher == {}
