import numpy as np
import pytest
import scipy.stats
from scoring.banks import BANK, SOURCE, TARGET, TEST
from sklearn.mixture import GaussianMixture

from asd_jax.scoring.back_ends.gmm import gmm


def one_gaussian(vectors, test, floor):
    variance = vectors.var(0) + floor
    return -scipy.stats.norm(vectors.mean(0), np.sqrt(variance)).logpdf(test).sum(1)


def test_a_component_needs_ten_clips():
    nineteen = {"source": SOURCE[:19]}
    floor = 1e-3 * SOURCE[:19].var(0).mean()
    expected = one_gaussian(SOURCE[:19], TEST, floor)
    assert gmm(nineteen).score(TEST)["source"] == pytest.approx(expected, abs=1e-9)
    # Two groups of ten clips, each with a component of its own.
    twenty = np.concatenate([SOURCE[:10], SOURCE[10:20] + 100])
    expected = one_gaussian(SOURCE[:10], TEST, 1e-3 * twenty.var(0).mean()) + np.log(2)
    found = gmm({"source": twenty}).score(TEST)["source"]
    assert found == pytest.approx(expected, abs=1e-9)


def test_clips_that_are_all_alike_have_a_likelihood():
    found = gmm({"source": np.ones((3, 2))}).score(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-6]]))
    # A variance of 1e-12: one millionth is one standard deviation. Measured: 6.6e-4 of difference.
    expected = np.log(2 * np.pi * 1e-12) + np.array([0, 0.5])
    assert found["source"] == pytest.approx(expected, abs=1.4e-3)


def test_gmm_is_scikit_learns_likelihood():
    found = gmm(BANK, components=3).score(TEST)
    ordered = SOURCE[np.lexsort(SOURCE.T[::-1])]
    floor = 1e-3 * SOURCE.var(0).mean()
    model = GaussianMixture(
        3, covariance_type="diag", reg_covar=floor, random_state=0, max_iter=500
    ).fit(ordered)
    assert found["source"] == pytest.approx(-model.score_samples(TEST), abs=1e-9)
    # seven clips: one component, in closed form
    variance = TARGET.var(0) + 1e-3 * TARGET.var(0).mean()
    expected = -scipy.stats.norm(TARGET.mean(0), np.sqrt(variance)).logpdf(TEST).sum(1)
    assert found["target"] == pytest.approx(expected, abs=1e-9)
