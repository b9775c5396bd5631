import dataclasses

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST, by_loop, unit

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import BACK_ENDS, fit_back_end
from asd_jax.scoring.back_ends.varmin import varmin
from asd_jax.scoring.options import DEFAULT


def of_one_band(test, bank, k, in_log):
    """VarMin of one band in float64, a loop for each of the published equations."""

    def distances(one, other):  # 0.5 (1 - cos), from the differences of unit vectors
        return np.square(unit(one)[:, None] - unit(other)).sum(-1) / 4

    inside = distances(bank, bank)
    np.fill_diagonal(inside, np.inf)
    b = np.sort(inside, axis=1)[:, :k].mean(1)
    u = inside.min(1)
    between = distances(test, bank)
    if in_log:
        b = np.log(b)
        u = np.log(u)
        between = np.log(between)
    v = b[inside.argmin(1)]
    alpha = np.cov(u, v)[0, 1] / np.var(v, ddof=1)
    return (between - alpha * b).min(1), u - alpha * v, u


def test_varmin_of_euclidean_distances_takes_them_as_they_are(monkeypatch):
    """Blocks of queries and of the bank change nothing."""
    inside = by_loop(SOURCE, SOURCE, "euclidean")
    np.fill_diagonal(inside, np.inf)
    b = np.sort(inside, axis=1)[:, :4].mean(1)
    u = inside.min(1)
    v = b[inside.argmin(1)]
    weight = np.cov(u, v)[0, 1] / np.var(v, ddof=1)
    expected = (by_loop(TEST, SOURCE, "euclidean") - weight * b).min(1)
    for rows, columns in ((1024, 4096), (4, 8)):
        monkeypatch.setattr("asd_jax.scoring.back_ends.varmin._QUERY_ROWS", rows)
        monkeypatch.setattr("asd_jax.scoring.back_ends.varmin._BANK_ROWS", columns)
        found = varmin({"source": SOURCE}, distance="euclidean").score(TEST)["source"]
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_zero_vector_is_at_half_a_distance_from_everything():
    bank = {"source": np.eye(5)}  # of one density, so that nothing is taken from the distance
    assert varmin(bank).score(np.zeros((2, 5)))["source"] == pytest.approx([0.5, 0.5], abs=1e-15)
    zeros = {"source": np.zeros((3, 5))}
    found = varmin(zeros).score(np.stack([np.zeros(5), np.ones(5)]))["source"]
    assert found == pytest.approx([0.5, 0.5], abs=1e-15)


def test_the_logarithm_of_a_copy_is_finite():
    found = varmin({"source": np.repeat(np.eye(3), 2, axis=0)}, k=1, in_log=True)
    assert found.score(np.eye(3))["source"] == pytest.approx(np.full(3, np.log(1e-12)))


@pytest.mark.parametrize("k, in_log", [(4, False), (1, True)])
@pytest.mark.parametrize("by_band", [True, False])
def test_varmin_is_the_published_equations(k, in_log, by_band):
    options = {"density_k": k, "varmin_log": in_log, "varmin_by_band": by_band}
    scoring = dataclasses.replace(DEFAULT, back_end="varmin", **options)
    banded = {domain: v.reshape(-1, 4, 2) for domain, v in BANK.items()}
    found = fit_back_end(banded, scoring, ("clip", "band", "embedding")).score(TEST)
    parts = [slice(2 * i, 2 * i + 2) for i in range(4)] if by_band else [slice(0, 8)]
    for domain, bank in BANK.items():
        each = [of_one_band(TEST[:, part], bank[:, part], k, in_log) for part in parts]
        expected = np.mean([scores for scores, _, _ in each], axis=0)
        assert found[domain] == pytest.approx(expected, abs=2e-13)  # measured 9e-14
        # what the method is for: its weight leaves the bank's own scores the least variance
        assert all(corrected.var() < own.var() for _, corrected, own in each)


def test_varmin_of_a_bank_without_varying_density_is_the_nearest_distance():
    bank = {"source": np.eye(5) + 0.0}
    found = BACK_ENDS["varmin"](bank, DEFAULT, 1).score(np.full((1, 5), 2.0))["source"]
    assert found == pytest.approx(0.5 * (1 - 1 / np.sqrt(5)), abs=1e-15)
    said = "^source: this back end needs 3 training clips, found 2; use knn$"
    with pytest.raises(InputError, match=said):
        BACK_ENDS["varmin"]({"source": SOURCE[:2]}, DEFAULT, 1)
    assert np.isfinite(varmin({"source": SOURCE[:3]}).score(TEST)["source"]).all()
