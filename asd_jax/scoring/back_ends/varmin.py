"""Variance-minimising normalisation: takes from a distance what the bank's own density explains."""

import numpy as np

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds
from asd_jax.scoring.back_ends.knn import nearest, unit_or_plain
from asd_jax.scoring.distances import distances

_LEAST_VARIANCE = 1e-12  # of the densities; with less, they cannot explain anything
_FLOOR = 1e-12  # of a distance whose logarithm is taken
# one block of distances: 32 MiB
_QUERY_ROWS = 1024
_BANK_ROWS = 4096


def varmin(
    bank: Bank,
    *,
    distance: str = "cosine",
    k: int = 4,
    in_log: bool = False,
    bands: int = 1,
) -> Fitted:
    """Returns a back end whose score is a distance minus a multiple of the bank's local density.

    For each band, with D the distance (0.5 (1 - cos) for cosine), b_i the mean distance of clip i
    of the bank to its k nearest other clips, j(z) the nearest other clip of z, u_z = D(z, j(z)) and
    v_z = b_j(z), the score is min_i D(x, i) - a b_i with a = Cov(u, v) / Var(v), which leaves the
    least variance of the bank's own scores. The result is the mean over the bands; it may be
    negative. Self-scores are computed by folds.

    Matsumoto et al., "Adjusting Bias in Anomaly Scores via Variance Minimization" (DCASE Workshop
    2025), k = 4; with logarithms of D and b and k = 1: Wilkinghoff et al. (arXiv 2603.04605).

    Args:
        bank: {domain: "r (bands e)"}, at least 3 clips each; k is limited to r - 1.
        distance: "cosine" or "euclidean".
        k: number of neighbours from which the density of a clip is estimated.
        in_log: whether D and b are replaced by their logarithms.
        bands: number of bands in a vector, stored one after the other.

    Complexity: O(r^2 e) to fit, O(n r e) to score.

    Raises:
        InputError: a bank has fewer than 3 clips.
    """

    def fit(bank):
        return {d: _scorer(vectors, distance, k, in_log, bands) for d, vectors in bank.items()}

    # A covariance cannot be estimated from fewer.
    return fit_by_folds(fit, bank, fewest=3)


def density_and_weight(
    vectors: np.ndarray, distance: str, k: int, in_log: bool
) -> tuple[np.ndarray, float]:
    """Returns the density b "r" of the clips "r e" of one band, and its weight a."""
    near, rows = nearest(vectors, vectors, k, distance, leave_one_out=True)
    near = near * _factor(distance)
    density = near.mean(1)
    # u of the paper: the distance to the nearest clip, which is the score before adjustment.
    own = near[:, 0]
    if in_log:
        density = _log(density)
        own = _log(own)
    # v of the paper: the density at that nearest clip.
    of_nearest = density[rows[:, 0]]
    centred = of_nearest - of_nearest.mean()
    variance = np.mean(centred**2)
    # Clips of one density leave nothing to adjust.
    if variance <= _LEAST_VARIANCE:
        return density, 0.0
    return density, float(np.mean(centred * (own - own.mean())) / variance)


def _scorer(vectors, distance, k, in_log, bands):
    parts = np.split(vectors, bands, axis=1)
    fits = [density_and_weight(part, distance, k, in_log) for part in parts]

    def score(test):
        found = [
            _least(queries, part, weight * density, distance, in_log)
            for queries, part, (density, weight) in zip(
                np.split(test, bands, axis=1), parts, fits, strict=True
            )
        ]
        return np.mean(found, axis=0)

    return score


def _least(queries, bank, offset, distance, in_log):
    """Returns the smallest D(x, i) - offset_i "n" of queries "n e" to a bank "r e"."""
    # `nearest` knows a scale per row but no offset, so the blocks are walked here.
    least = np.full(len(queries), np.inf)
    bank = unit_or_plain(bank, distance)
    for start in range(0, len(queries), _QUERY_ROWS):
        rows = slice(start, start + _QUERY_ROWS)
        query = unit_or_plain(queries[rows], distance)
        for first in range(0, len(bank), _BANK_ROWS):
            columns = slice(first, first + _BANK_ROWS)
            found = _distances(query, bank[columns], distance)
            found = (_log(found) if in_log else found) - offset[columns]
            least[rows] = np.minimum(least[rows], found.min(1))
    return least


def _distances(query, bank, distance):
    if distance == "euclidean":
        return distances(query, bank)
    # From the differences, because 1 - cos loses the digits of near-duplicates. For unit vectors
    # |u - v|^2 = 2 (1 - cos); each zero vector makes that smaller by 1.
    zeros = 1.0 * ~query.any(1)[:, None] + ~bank.any(1)
    return (distances(query, bank, "sqeuclidean") + zeros) / 4


def _factor(distance: str) -> float:
    return 0.5 if distance == "cosine" else 1.0


def _log(values):
    return np.log(np.maximum(values, _FLOOR))
