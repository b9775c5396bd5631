import re

import numpy as np
import pytest
from scoring.banks import SOURCE, TARGET, TEST
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.mahalanobis import _ledoit_wolf, mahalanobis


@pytest.mark.parametrize("vectors", [SOURCE, TARGET], ids=["more clips than dimensions", "fewer"])
def test_mahalanobis_is_scikit_learns_ledoit_wolf(vectors):
    expected = np.sqrt(LedoitWolf().fit(vectors).mahalanobis(TEST))
    assert mahalanobis({"source": vectors}).score(TEST)["source"] == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("shape", [(40, 8), (5, 8), (30, 1200), (3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_shrinkage_is_scikit_learns(shape, dtype):
    vectors = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = _ledoit_wolf(vectors - vectors.mean(0))
    # Beyond 1000 dimensions the order of the sums differs; measured there: 2e-15 in float64.
    tolerance = 0 if shape[1] <= 1000 else 1e-6 if dtype == np.float32 else 4e-15
    assert found == pytest.approx(ledoit_wolf_shrinkage(vectors), rel=tolerance)


@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 1.0])
def test_mahalanobis_shrinks_as_told(shrinkage):
    s = np.cov(SOURCE.T, bias=True)
    c = (1 - shrinkage) * s + shrinkage * np.trace(s) / 8 * np.eye(8)
    centred = TEST - SOURCE.mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(c), centred))
    assert mahalanobis({"source": SOURCE}, shrinkage=shrinkage).score(TEST)[
        "source"
    ] == pytest.approx(expected)


def test_mahalanobis_of_two_clips_is_the_distance_to_their_mean():
    bank = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    score = mahalanobis({"source": bank}).score(np.array([[1.0, 0, 1], [0, 2, 1], [0, 0, 4]]))[
        "source"
    ]
    assert score == pytest.approx(np.array([1, 2, 3]) / np.sqrt(1 / 3))
    equal = mahalanobis({"source": np.ones((3, 2))}).score(np.array([[1.0, 1], [1, 2]]))["source"]
    assert equal[0] == 0 and np.isfinite(equal).all()


@pytest.mark.parametrize(
    "options, target, said",
    [
        ({}, TARGET[:1], "target: this back end needs 2 training clips, found 1; use knn"),
        (
            {"shrinkage": 2.0},
            TARGET,
            "mahalanobis shrinkage 2.0: must lie in (0, 1], or 0 to estimate it",
        ),
    ],
)
def test_what_mahalanobis_cannot_do_is_said(options, target, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        mahalanobis({"source": SOURCE, "target": target}, **options)
