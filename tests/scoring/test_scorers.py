"""Scorers: pairs of a view and a back end."""

import numpy as np
import pytest
from scoring.banks import SOURCE, TARGET, TEST, by_loop

from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import fit_scorer, folds, prepared, scorers_of

DOMAIN = np.repeat(["source", "target"], [len(SOURCE), len(TARGET)])


def test_each_back_end_of_each_view_is_a_scorer():
    found = scorers_of({"a": Scoring(back_end="knn+mahalanobis", k=3), "b": Scoring()})
    assert {name: (view, of.back_end, of.k) for name, (view, of) in found.items()} == {
        "a/knn": ("a", "knn", 3),
        "a/mahalanobis": ("a", "mahalanobis", 3),
        "b/knn": ("b", "knn", 1),
    }


def test_windows_of_each_domain_go_into_all_folds_and_groups_into_one():
    group = np.repeat(np.arange(30), 2)
    fold = folds(np.repeat(["source", "target"], [40, 20]), group)
    assert np.array_equal(fold[::2], fold[1::2])
    assert set(fold[:40]) == set(fold[40:]) == set(range(10))


def test_a_scorer_has_a_column_for_each_domain_and_standardises_by_the_source():
    scoring = Scoring(distance="euclidean", standardize=True)
    score = fit_scorer(scoring, np.concatenate([SOURCE, TARGET]), DOMAIN, ["source", "target"])
    test, *banks = ((v - SOURCE.mean(0)) / SOURCE.std(0) for v in (TEST, SOURCE, TARGET))
    expected = np.stack([by_loop(test, bank, "euclidean").min(1) for bank in banks], axis=1)
    assert score(TEST) == pytest.approx(expected, abs=1e-12)


def test_one_bank_is_standardised_by_itself():
    scoring = Scoring(distance="euclidean", standardize=True)
    prepare, banks = prepared(scoring, TARGET, np.full(len(TARGET), "pooled"), ["pooled"])
    assert list(banks) == ["pooled"]
    expected = (TEST - TARGET.mean(0)) / TARGET.std(0)
    assert prepare(TEST)[:, 0] == pytest.approx(expected, abs=1e-12)
