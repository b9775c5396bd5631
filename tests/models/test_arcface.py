import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.arcface import ArcFace, arcface_logits, arcface_loss, cosine_similarity

COSINES = jnp.linspace(-1, 1, 401)[None]


def test_margin_only_on_target_class():
    cosine = jnp.array([[0.3, -0.2, 0.9]])
    logits = arcface_logits(cosine, jnp.array([[0.0, 1.0, 0.0]]), scale=30.0, margin=0.5)
    assert logits[0, 0] == pytest.approx(9.0) and logits[0, 2] == pytest.approx(27.0)
    assert logits[0, 1] == pytest.approx(30 * np.cos(np.arccos(-0.2) + 0.5), rel=1e-5)


def test_soft_labels_share_the_margin():
    cosine = np.array([0.3, -0.2, 0.9])
    labels = np.array([0.7, 0.3, 0.0])
    logits = arcface_logits(jnp.asarray(cosine)[None], jnp.asarray(labels)[None])
    np.testing.assert_allclose(logits[0], 30 * np.cos(np.arccos(cosine) + 0.5 * labels), rtol=1e-5)


def test_logits_rise_with_the_cosine_also_past_pi():
    logits = np.asarray(arcface_logits(COSINES, jnp.ones_like(COSINES)))[0]
    assert (np.diff(logits) > 0).all()
    past = np.cos(np.pi - 0.5)
    inside = COSINES[0] > past + 0.01
    expected = 30 * np.cos(np.arccos(np.asarray(COSINES[0], np.float64)) + 0.5)
    np.testing.assert_allclose(logits[inside], expected[inside], atol=0.05)
    assert logits[0] == pytest.approx(30 * (-1 - 0.5 * np.sin(0.5)), rel=1e-4)


def test_gradient_is_finite_at_the_poles():
    gradient = jax.grad(lambda c: arcface_logits(c, jnp.ones_like(c)).sum())(
        jnp.array([[-1.0, 1.0]])
    )
    assert np.isfinite(gradient).all()


def test_zero_margin_is_scaled_cosine_softmax():
    logits = arcface_logits(COSINES, jnp.ones_like(COSINES), margin=0.0)
    np.testing.assert_allclose(logits, 30 * COSINES, atol=1e-4)


def test_length_of_embeddings_does_not_matter():
    head = ArcFace(classes=5)
    x = jax.random.normal(jax.random.key(0), (3, 16))
    labels = jnp.eye(5)[:3]
    params = head.init(jax.random.key(1), x, labels)
    np.testing.assert_allclose(
        head.apply(params, x, labels)[0], head.apply(params, 100 * x, labels)[0], atol=1e-4
    )
    centres = params["params"]["centres"]
    expected = (
        x
        @ centres.T
        / np.linalg.norm(x, axis=1)[:, None]
        / np.linalg.norm(centres, axis=1)[None, :]
    )
    np.testing.assert_allclose(cosine_similarity(x, centres), expected, atol=1e-6)


def test_loss_is_soft_cross_entropy():
    logits = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    labels = jnp.array([[0.6, 0.4], [1.0, 0.0]])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert arcface_loss(logits, labels) == pytest.approx(
        float(-(labels * log_p).sum(1).mean()), rel=1e-6
    )


def test_the_nearest_of_a_classs_subcentres_counts():
    head = ArcFace(classes=3, margin=0.0, subcentres=(2, 1, 3))
    x = jax.random.normal(jax.random.key(0), (4, 16))
    labels = jnp.eye(3)[jnp.arange(4) % 3]
    params = head.init(jax.random.key(1), x, labels)
    centres = params["params"]["centres"]
    assert centres.shape == (6, 16)
    every = np.asarray(cosine_similarity(x, centres))
    expected = np.stack([every[:, :2].max(1), every[:, 2], every[:, 3:].max(1)], 1)
    logits, cosine = head.apply(params, x, labels)
    np.testing.assert_allclose(cosine, expected, atol=1e-6)
    np.testing.assert_allclose(logits, 30 * expected, atol=1e-4)


def test_one_subcentre_each_is_arcface():
    x = jax.random.normal(jax.random.key(0), (4, 16))
    labels = jnp.eye(3)[jnp.arange(4) % 3]
    plain = ArcFace(classes=3)
    each = ArcFace(classes=3, subcentres=(1, 1, 1))
    params = plain.init(jax.random.key(1), x, labels)
    jax.tree.map(
        np.testing.assert_array_equal, plain.apply(params, x, labels), each.apply(params, x, labels)
    )
