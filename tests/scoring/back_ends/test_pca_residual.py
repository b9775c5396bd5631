import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST

from asd_jax.scoring.back_ends.pca_residual import pca_residual


def test_pca_residual_is_what_the_components_leave():
    _, directions = np.linalg.eigh(np.cov(SOURCE.T))
    centred = TEST - SOURCE.mean(0)
    expected = np.linalg.norm(centred @ directions[:, :5], axis=1)  # the five weakest of eight
    assert pca_residual(BANK, components=3).score(TEST)["source"] == pytest.approx(
        expected, abs=1e-12
    )


def test_components_are_at_most_half_of_the_clips():
    few = pca_residual({"source": SOURCE[:6]}).score(TEST)["source"]
    assert np.array_equal(
        few, pca_residual({"source": SOURCE[:6]}, components=3).score(TEST)["source"]
    )
    centred = SOURCE[:6] - SOURCE[:6].mean(0)
    axes = np.linalg.svd(centred)[2][:3]
    left = (TEST - SOURCE[:6].mean(0)) @ (np.eye(8) - axes.T @ axes)
    assert few == pytest.approx(np.linalg.norm(left, axis=1), abs=1e-12)
    # Two clips have one component, and so does a single dimension.
    two = pca_residual({"source": np.array([[0.0, 0.0], [2.0, 0.0]])}).score
    assert two(np.array([[7.0, 3.0]]))["source"] == pytest.approx([3.0])
    assert pca_residual({"source": np.arange(4.0)[:, None]}).score(np.ones((1, 1)))["source"] == 0


def test_one_dimension_is_left_over_where_components_would_explain_all():
    scales = np.array([8.0, 4.0, 2.0, 1.0])
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(400, 4)) * scales
    test = rng.normal(size=(9, 4)) * scales
    most = pca_residual({"source": bank}, components=3).score(test)["source"]
    assert np.array_equal(pca_residual({"source": bank}, components=20).score(test)["source"], most)
    # The weakest axis is nearly the last dimension; measured: 0.083 of difference at most.
    assert most == pytest.approx(np.abs(test - bank.mean(0))[:, 3], abs=0.17)
