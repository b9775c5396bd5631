import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.adacos import AdaCos, initial_scale, next_scale
from asd_jax.models.arcface import arcface_loss, cosine_similarity


def heads(subclusters, classes=5):
    head = AdaCos(classes, subclusters)
    x = jax.random.normal(jax.random.key(0), (6, 16))
    labels = jnp.eye(classes)[jnp.arange(6) % classes]
    return head, head.init(jax.random.key(1), x, labels), x, labels


def test_scale_starts_at_the_fixed_one():
    assert initial_scale(10) == pytest.approx(np.sqrt(2) * np.log(9))
    head, variables, *_ = heads(4)
    assert variables["adacos"]["scale"] == pytest.approx(np.sqrt(2) * np.log(19))
    assert initial_scale(2) > 0.9


def test_next_scale_is_the_papers():
    rng = np.random.default_rng(0)
    cosine = rng.uniform(-1, 1, (7, 5))
    label = rng.integers(0, 5, 7)
    others = np.exp(4.0 * cosine)
    others[np.arange(7), label] = 0
    angle = np.median(np.arccos(cosine[np.arange(7), label]))
    expected = np.log(others.sum(1).mean()) / np.cos(min(np.pi / 4, angle))
    got = next_scale(
        jnp.float32(4.0), jnp.asarray(cosine, jnp.float32)[:, :, None], jnp.eye(5)[label]
    )
    assert got == pytest.approx(expected, rel=1e-5)


def test_next_scale_of_subclusters_counts_all_centres():
    rng = np.random.default_rng(1)
    cosine = rng.uniform(-1, 1, (7, 5, 3))
    label = rng.integers(0, 5, 7)
    angle = np.median(np.arccos(cosine[np.arange(7), label].max(-1)))
    expected = np.log(np.exp(4.0 * cosine).sum((1, 2)).mean()) / np.cos(min(np.pi / 4, angle))
    got = next_scale(jnp.float32(4.0), jnp.asarray(cosine, jnp.float32), jnp.eye(5)[label])
    assert got == pytest.approx(expected, rel=1e-5)


def test_a_class_gets_the_probability_of_all_its_centres():
    head, variables, x, labels = heads(3)
    logits, cosines = head.apply(variables, x, labels)
    all_centres = cosine_similarity(x, variables["params"]["centres"])
    p = jax.nn.softmax(variables["adacos"]["scale"] * all_centres).reshape(6, 5, 3).sum(-1)
    np.testing.assert_allclose(jax.nn.softmax(logits), p, rtol=1e-5)
    np.testing.assert_allclose(cosines, all_centres.reshape(6, 5, 3).max(-1), atol=1e-6)


def test_one_centre_a_class_is_scaled_softmax():
    head, variables, x, labels = heads(1)
    logits, cosines = head.apply(variables, x, labels)
    np.testing.assert_allclose(logits, variables["adacos"]["scale"] * cosines, rtol=1e-5)


@pytest.mark.parametrize("subclusters", [1, 4])
def test_scale_moves_in_training_only_and_has_no_gradient(subclusters):
    head, variables, x, labels = heads(subclusters)
    _, changed = head.apply(variables, x, labels, mutable=["adacos"])
    assert changed["adacos"]["scale"] != variables["adacos"]["scale"]

    def loss(params):
        (logits, _), _ = head.apply({**variables, "params": params}, x, labels, mutable=["adacos"])
        return arcface_loss(logits, labels)

    def with_fixed_scale(params):
        return arcface_loss(head.apply({"params": params, **changed}, x, labels)[0], labels)

    ours, fixed = (jax.grad(f)(variables["params"])["centres"] for f in (loss, with_fixed_scale))
    np.testing.assert_allclose(ours, fixed, rtol=1e-5)


def test_two_classes_keep_a_positive_scale():
    cosine = jnp.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None]
    assert next_scale(jnp.float32(2.0), cosine, jnp.eye(2)) > 0


@pytest.mark.parametrize("centres", [1, 3])
def test_public_scale_sums_the_angles_to_a_classs_centres(centres):
    rng = np.random.default_rng(2)
    cosine = rng.uniform(-1, 1, (7, 5, centres))
    label = rng.integers(0, 5, 7)
    exponents = 4.0 * cosine
    if centres == 1:
        exponents[np.arange(7), label] = 0
    angle = np.median(np.arccos(cosine[np.arange(7), label]).sum(-1))
    expected = np.log(np.exp(exponents).sum((1, 2)).mean()) / np.cos(min(np.pi / 4, angle))
    got = next_scale(
        jnp.float32(4.0), jnp.asarray(cosine, jnp.float32), jnp.eye(5)[label], rule="public"
    )
    assert got == pytest.approx(expected, rel=1e-5)


def test_near_a_centre_the_public_scale_is_the_larger():
    """Two centres a class, one of them far: the sum of the angles is beyond pi / 4."""
    cosine = jnp.tile(jnp.array([[0.99, 0.0], [0.0, 0.0]]), (4, 1, 1))
    labels = jnp.tile(jnp.array([1.0, 0.0]), (4, 1))
    ours, public = (
        next_scale(jnp.float32(5.0), cosine, labels, rule=rule) for rule in ("nearest", "public")
    )
    np.testing.assert_allclose(public / ours, np.sqrt(2) * 0.99, rtol=1e-3)
