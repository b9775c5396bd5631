"""Defines the interface of all back ends: a function that fits a bank and returns `Fitted`.

A bank is a dictionary from domain to the normal training embeddings "r e" of one machine section:
{"source": ..., "target": ...}, only one of the two, or {"pooled": ...} if domains are not
distinguished. A back end is a function `back_end(bank, **options) -> Fitted`. It may change the
bank (SMOTE, k-means), fit a model to it (Mahalanobis, GMM) or combine other back ends (fusion). The
result always has one score per bank.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from asd_jax.runtime.errors import InputError

Bank = dict[str, np.ndarray]
Scores = dict[str, np.ndarray]


def as_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors "n ..." as rows "n e"; there may be none."""
    return vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:])))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted back end.

    Attributes:
        score: function from test embeddings "n e" to {bank: anomaly scores "n"}; higher is more
            anomalous.
        self_scores: function from groups to {domain: what `score` would return for the domain's own
            training clips if each had been kept out of its bank}. Computed by leave-one-out, or by
            folds where fitting is expensive. Only real clips get scores. NaN where nothing is left
            to compare with (a bank of one clip). Clips with the same number in the groups {domain:
            "r"} are left out together, e.g. the windows of one clip.
    """

    score: Callable[[np.ndarray], Scores]
    self_scores: Callable[..., dict[str, Scores]]


def fit_by_folds(
    fit: Callable[[Bank], dict[str, Callable]], bank: Bank, *, folds: int = 5, fewest: int = 1
) -> Fitted:
    """Returns the back end fitted by `fit`, with self-scores from refitting without each fold.

    Banks of at most `folds` clips, or groups, are left out one by one. Clips are first sorted into
    a canonical order, so that no result depends on the order in which they are given. Complexity: 1
    + folds x domains fits.

    Args:
        fit: function from the bank to {bank: scorer of test embeddings}; it may use the banks of
            all domains.
        bank: {domain: "r e"}.
        folds: maximum number of refits per domain.
        fewest: number of clips needed to fit a domain's bank; self-scores are NaN where fewer would
            be left.

    Raises:
        InputError: a bank has fewer than `fewest` clips.
    """
    for domain, vectors in bank.items():
        if len(vectors) < fewest:
            raise InputError(
                f"{domain}: this back end needs {fewest} training clips, found {len(vectors)}; "
                "use knn"
            )
    orders = {domain: canonical_order(vectors) for domain, vectors in bank.items()}
    bank = {
        domain: np.asarray(vectors, np.float64)[orders[domain]] for domain, vectors in bank.items()
    }
    scorers = fit(bank)

    def score(test):
        return {domain: scorer(np.asarray(test, np.float64)) for domain, scorer in scorers.items()}

    def self_scores(groups=None):
        # Groups come in the order of the caller, the bank is in the canonical one.
        own = {d: np.arange(len(bank[d])) if groups is None else groups[d][orders[d]] for d in bank}
        return {
            domain: {
                # Back to the order of the caller.
                name: values[np.argsort(orders[domain])]
                for name, values in _without(domain, own[domain]).items()
            }
            for domain in bank
        }

    def _without(domain, group):
        vectors = bank[domain]
        fold = folds_of(group, folds)
        scores = score(vectors)
        # Only the scores against a clip's own bank must come from a fit without the clip.
        scores[domain] = np.full(len(vectors), np.nan)
        for left_out in range(fold.max() + 1):
            if np.sum(fold != left_out) >= fewest:
                # The banks of the other domains stay whole, as they do not hold these clips.
                rest = fit(bank | {domain: vectors[fold != left_out]})
                scores[domain][fold == left_out] = rest[domain](vectors[fold == left_out])
        return scores

    return Fitted(score, self_scores)


def folds_of(group: np.ndarray, most: int) -> np.ndarray:
    """Returns the fold 0, 1, ... of each row "r", given the group of each row "r".

    Groups are never split, and there are at most as many folds as groups.
    """
    number = np.unique(group, return_inverse=True)[1]
    # Dealt in turn, so that the folds differ by at most one group.
    return number % min(most, number.max() + 1)


def canonical_order(vectors: np.ndarray) -> np.ndarray:
    """Returns an order of the rows that depends only on their values."""
    # np.lexsort sorts by its last key first.
    return np.lexsort(np.asarray(vectors).T[::-1])
