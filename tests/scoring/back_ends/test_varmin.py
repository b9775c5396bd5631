import dataclasses

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST, unit

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import BACK_ENDS, fit_back_end
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
    with pytest.raises(InputError, match="source: varmin needs 3 training clips, found 2; use knn"):
        BACK_ENDS["varmin"]({"source": SOURCE[:2]}, DEFAULT, 1)
