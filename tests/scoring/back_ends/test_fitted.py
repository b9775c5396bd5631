"""The refitting that gives back ends their self-scores."""

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import canonical_order, fit_by_folds, folds_of


def distance_to_mean(bank):
    def scorer(mean):
        return lambda vectors: np.linalg.norm(vectors - mean, axis=1)

    return {domain: scorer(vectors.mean(0)) for domain, vectors in bank.items()}


def test_a_self_score_is_of_a_fit_without_the_clip_and_with_the_whole_other_domain():
    found = fit_by_folds(distance_to_mean, BANK, folds=7).self_scores()["target"]
    alone = [np.linalg.norm(TARGET[n] - np.delete(TARGET, n, axis=0).mean(0)) for n in range(7)]
    assert found["target"] == pytest.approx(alone, abs=1e-14)
    across = np.linalg.norm(TARGET - SOURCE.mean(0), axis=1)
    assert found["source"] == pytest.approx(across, abs=1e-14)


def test_a_test_clip_is_scored_by_the_fit_to_the_whole_bank():
    found = fit_by_folds(distance_to_mean, BANK).score(TEST)["source"]
    assert found == pytest.approx(np.linalg.norm(TEST - SOURCE.mean(0), axis=1), abs=1e-14)


def test_the_cost_is_one_fit_and_one_for_each_fold_of_each_domain():
    fits = []
    fitted = fit_by_folds(lambda bank: fits.append(0) or distance_to_mean(bank), BANK)
    fitted.self_scores()
    assert len(fits) == 1 + 2 * 5


def test_what_leaves_too_few_clips_to_fit_has_no_self_score():
    bank = {"source": SOURCE, "target": TARGET[:2]}
    found = fit_by_folds(distance_to_mean, bank, fewest=2).self_scores()
    assert np.isnan(found["target"]["target"]).all()
    assert np.isfinite(found["source"]["source"]).all()
    # As many as are needed may be left.
    three = fit_by_folds(distance_to_mean, {"target": TARGET[:3]}, fewest=2).self_scores()
    assert np.isfinite(three["target"]["target"]).all()
    two = fit_by_folds(distance_to_mean, {"target": TARGET[:2]}).self_scores()["target"]["target"]
    assert two == pytest.approx(np.full(2, np.linalg.norm(TARGET[0] - TARGET[1])), abs=1e-14)
    with pytest.raises(
        InputError, match="^target: this back end needs 3 training clips, found 2; use knn$"
    ):
        fit_by_folds(distance_to_mean, bank, fewest=3)


def test_folds_hold_groups_whole():
    group = np.array([7, 7, 3, 9, 3, 5])
    fold = folds_of(group, 3)
    assert fold.tolist() == [2, 2, 0, 0, 0, 1]
    assert folds_of(group, 10).max() == 3  # as many folds as groups


def test_the_canonical_order_depends_on_the_values_alone():
    shuffled = SOURCE[np.random.default_rng(1).permutation(len(SOURCE))]
    assert np.array_equal(shuffled[canonical_order(shuffled)], SOURCE[canonical_order(SOURCE)])
    assert canonical_order(np.array([[1.0, 2], [0, 5], [1, 1]])).tolist() == [1, 2, 0]
