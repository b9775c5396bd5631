import numpy as np
import pytest
import scipy.stats
from scoring.banks import BANK, SOURCE, TARGET, TEST
from sklearn.mixture import GaussianMixture

from asd_jax.scoring.back_ends.gmm import gmm


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
