"""The one interface of every back end: a function that fits a bank and returns `Fitted`.

A bank is a dictionary from domain to the normal training embeddings of one machine section, "r e":
{"source": ..., "target": ...}, only one of them, or {"pooled": ...} where domains are not told
apart. A back end is a function `back_end(bank, **options) -> Fitted`; it may change the bank
(SMOTE, k-means), fit a model to it (Mahalanobis, GMM) or combine other back ends (fusion): what
comes out is always a score per bank.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from asd_jax.runtime.errors import InputError

Bank = dict[str, np.ndarray]
Scores = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted back end.

    Attributes:
        score: test embeddings "n e" -> {bank: anomaly score "n"}, higher is more anomalous.
        self_scores: groups -> {domain: what `score` would say of that domain's own training clips,
            had each been kept out of its bank}: leave-one-out, or folds where fitting is dear. Real
            clips only. NaN where nothing is left to compare with (a bank of one clip). Groups
            {domain: "r"} are kept out together: windows of one clip.
    """

    score: Callable[[np.ndarray], Scores]
    self_scores: Callable[..., dict[str, Scores]]


def fit_by_folds(
    fit: Callable[[Bank], dict[str, Callable]], bank: Bank, *, folds: int = 5, fewest: int = 1
) -> Fitted:
    """`fit`, bank -> {bank: scorer of test embeddings}, with self-scores by refitting without each
    fold.

    Banks of up to `folds` clips, or groups, are left out one by one. Clips are put in one order
    first, so that no result depends on the order in which they came. Complexity: 1 + folds x
    domains fits.

    Args:
        fit: may look at all domains' banks.
        bank: {domain: "r e"}.
        folds: refits per domain, at most.
        fewest: clips that a domain's bank needs to be fitted; self-scores are NaN where fewer would
            be left.

    Raises:
        InputError: a bank of fewer clips.
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
        own = {d: np.arange(len(bank[d])) if groups is None else groups[d][orders[d]] for d in bank}
        return {
            domain: {
                name: values[np.argsort(orders[domain])]
                for name, values in _without(domain, own[domain]).items()
            }
            for domain in bank
        }

    def _without(domain, group):
        vectors, fold = bank[domain], folds_of(group, folds)
        scores = score(vectors)
        scores[domain] = np.full(len(vectors), np.nan)
        for left_out in range(fold.max() + 1):
            if np.sum(fold != left_out) >= fewest:
                rest = fit(bank | {domain: vectors[fold != left_out]})
                scores[domain][fold == left_out] = rest[domain](vectors[fold == left_out])
        return scores

    return Fitted(score, self_scores)


def folds_of(group: np.ndarray, most: int) -> np.ndarray:
    """Which group each row belongs to "r" -> its fold 0, 1, ...: groups stay whole, as many folds
    as groups at most.
    """
    number = np.unique(group, return_inverse=True)[1]
    return number % min(most, number.max() + 1)


def canonical_order(vectors: np.ndarray) -> np.ndarray:
    """An order of the rows that depends on nothing but their values."""
    return np.lexsort(np.asarray(vectors).T[::-1])
