"""Mahalanobis distance to the mean of each domain, with its covariance shrunk towards a sphere."""

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds

_COLUMNS = 1000  # of the covariance at once: 49 MB for 6144 dimensions


def mahalanobis(bank: Bank, *, shrinkage: float | None = None) -> Fitted:
    """Returns a back end whose score is the Mahalanobis distance sqrt((x - m)' C^-1 (x - m)).

    C = (1 - a) S + a tr(S)/e I for each domain. Self-scores are computed by folds. S has rank below
    r: with its r singular vectors C is inverted in O(r^2 e) instead of O(e^3); scoring takes O(n r
    e).

    Args:
        bank: {domain: "r e"}, at least 2 clips each.
        shrinkage: a in (0, 1]; None estimates it (Ledoit and Wolf 2004), and uses 1 for two clips.

    Raises:
        InputError: a bank has one clip, or the shrinkage is outside (0, 1].
    """
    if shrinkage is not None and not 0 < shrinkage <= 1:
        raise InputError(
            f"mahalanobis shrinkage {shrinkage}: must lie in (0, 1], or 0 to estimate it"
        )

    def fit(bank):
        return {domain: _scorer(vectors, shrinkage) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def shrunk_covariance(vectors: np.ndarray, shrinkage: float | None = None):
    """Returns the mean and the shrunk covariance of vectors "r e".

    The result is (mean "e", singular directions "r e", variance along each "r", variance along all
    other directions).
    """
    mean = vectors.mean(0)
    centred = vectors - mean
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    # Divided by n, not n - 1, as in Ledoit and Wolf's covariance.
    variance = singular**2 / len(vectors)
    a = _ledoit_wolf(centred) if shrinkage is None else shrinkage
    # Identical clips have no variance, and the distance divides by it.
    floor = np.finfo(float).eps * np.square(vectors).mean() + np.finfo(float).tiny
    rest = max(a * variance.sum() / vectors.shape[1], floor)
    return mean, directions, (1 - a) * variance + rest, rest


def _ledoit_wolf(centred: np.ndarray) -> float:
    """Returns the shrinkage that Ledoit and Wolf (2004) estimate for centred vectors "r e".

    It is that of scikit-learn to the last bit, up to 1000 dimensions, but scikit-learn takes longer
    to import than a detector to score a file.
    """
    n, width = centred.shape
    # Two clips are symmetric about their mean, so the estimate is 0 for any two clips.
    if n <= 2:
        return 1.0
    squared = np.square(centred)
    variances = squared.sum(0) / n
    covariances = products = 0.0
    for start in range(0, width, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        covariances += np.square(centred.T @ centred[:, columns]).sum()
        products += (squared.T @ squared[:, columns]).sum()
    covariances /= n**2
    noise = 1 / (width * n) * (products / n - covariances)
    mean = variances.sum() / width
    # The squared distance of S from a sphere of the mean variance, per dimension, multiplied out.
    from_sphere = (covariances - 2 * mean * variances.sum() + width * mean**2) / width
    # Shrinking goes no further than to the sphere. Equal clips have neither, and 0 / 0 is no share.
    noise = min(noise, from_sphere)
    return float(noise / from_sphere) if noise else 0.0


def _scorer(vectors, shrinkage):
    mean, directions, inside, rest = shrunk_covariance(vectors, shrinkage)

    def score(test):
        centred = test - mean
        along = centred @ directions.T
        # All directions that the bank does not span have one variance.
        outside = np.square(centred - along @ directions).sum(1)
        return np.sqrt((along**2 / inside).sum(1) + outside / rest)

    return score
