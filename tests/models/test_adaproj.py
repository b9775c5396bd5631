import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models.adaproj import AdaProj, projection_cosine

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 16))
VECTORS = RNG.normal(size=(4, 3, 16))
LABELS = jnp.eye(4)[jnp.arange(6) % 4]


def expected_cosine(x, vectors):
    """The projection itself, in float64, clip by clip and class by class."""
    found = np.empty((len(x), len(vectors)))
    for i, one in enumerate(x / np.linalg.norm(x, axis=1, keepdims=True)):
        for c, of in enumerate(vectors / np.linalg.norm(vectors, axis=2, keepdims=True)):
            projected = sum((one @ w) * w for w in of)
            found[i, c] = one @ projected / np.linalg.norm(projected)
    return found


def test_the_cosine_is_that_of_the_projection():
    found = projection_cosine(jnp.asarray(X, jnp.float32), jnp.asarray(VECTORS, jnp.float32))
    # measured 9e-8
    np.testing.assert_allclose(found, expected_cosine(X, VECTORS), atol=2e-7)


def test_one_vector_a_class_is_the_absolute_cosine():
    found = projection_cosine(jnp.asarray(X, jnp.float32), jnp.asarray(VECTORS, jnp.float32)[:, :1])
    one = VECTORS[:, 0] / np.linalg.norm(VECTORS[:, 0], axis=1, keepdims=True)
    cosine = X / np.linalg.norm(X, axis=1, keepdims=True) @ one.T
    np.testing.assert_allclose(found, np.abs(cosine), atol=1e-6)


def test_an_embedding_inside_a_classs_subspace_is_at_its_centre():
    orthonormal = np.eye(16)[:3]
    x = np.array([0.3, -0.5, 0.2]) @ orthonormal
    found = projection_cosine(
        jnp.asarray(x, jnp.float32)[None], jnp.asarray(orthonormal, jnp.float32)[None]
    )
    assert found[0, 0] == pytest.approx(1, abs=1e-6)


def test_the_scale_follows_the_batch_as_in_adacos():
    head = AdaProj(4, 3)
    x = jnp.asarray(X, jnp.float32)
    variables = head.init(jax.random.key(0), x, LABELS)
    (logits, cosine), changed = head.apply(variables, x, LABELS, mutable=["adacos"])
    start = np.sqrt(2) * np.log(3)
    of = np.asarray(cosine, np.float64)
    own = np.asarray(LABELS) == 1
    mean = np.where(own, 1, np.exp(start * of)).sum(1).mean()
    angle = np.median(np.arccos(of[own]))
    expected = np.log(mean) / np.cos(min(np.pi / 4, angle))
    assert changed["adacos"]["scale"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(logits, changed["adacos"]["scale"] * cosine, rtol=1e-6)
