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
