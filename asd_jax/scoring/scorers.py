"""Fits the back ends of a view to normal vectors: each pair of view and back end is a scorer."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fitted import Fitted, as_rows, folds_of
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation

FOLDS = 10  # number of folds for self-scores
# Vectors with bands have these axes too, because only layers are treated differently.
_AXES = ("clip", "embedding")


def scorers_of(scoring: Mapping[str, Scoring]) -> dict[str, tuple[str, Scoring]]:
    """Returns {"view/back_end": (view, its scoring with that back end alone)}."""
    return {
        f"{view}/{name}": (view, dataclasses.replace(of, back_end=name))
        for view, of in scoring.items()
        for name in of.back_end.split("+")
    }


def folds(domain: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the fold 0..9 of each window.

    Groups are never split, and the windows of each domain are spread over all folds.
    """
    fold = np.empty(len(domain), np.int64)
    for name in np.unique(domain):
        fold[domain == name] = folds_of(group[domain == name], FOLDS)
    return fold


def prepared(
    scoring: Scoring, vectors: np.ndarray, domain: np.ndarray, domains: list[str]
) -> tuple[Preparation, dict[str, np.ndarray]]:
    """Returns the preparation of vectors, and {domain: prepared bank "r p c"}.

    Args:
        scoring: options.
        vectors: vectors of a bank "r ...".
        domain: domain of each vector, "r".
        domains: the domains to return.
    """
    training = {name: vectors[domain == name] for name in domains}
    # Preparation reads the statistics of source clips, and takes all where there are none.
    by_domain = {"source": training.get("source", vectors[:0]), **training}
    prepare = Preparation.fit(by_domain, scoring, _AXES)
    return prepare, {name: prepare(rows) for name, rows in training.items()}


def fit_scorer(
    scoring: Scoring, vectors: np.ndarray, domain: np.ndarray, domains: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from vectors "n ..." to scores "n d" against the bank of each domain.

    The arguments are those of `prepared`.
    """
    prepare, training = prepared(scoring, vectors, domain, domains)
    fitted: Fitted = fit_back_end(training, scoring, _AXES)

    def score(test: np.ndarray) -> np.ndarray:
        scores = fitted.score(as_rows(prepare(test)))
        return np.stack([scores[name] for name in domains], axis=1)

    return score
