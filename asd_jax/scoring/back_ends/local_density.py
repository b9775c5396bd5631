"""Local density normalisation: a distance counts less where the bank itself is sparse."""

import numpy as np

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds
from asd_jax.scoring.back_ends.knn import nearest

_FLOOR = 1e-12  # lower limit of the mean distance inside the bank, which is 0 for copies of a clip


def local_density(
    bank: Bank, *, distance: str = "cosine", k: int = 4, neighbours: int = 1
) -> Fitted:
    """Returns a back end whose score is a distance normalised by the local density of the bank.

    The score is the mean of the smallest `neighbours` values, over the clips e of the bank, of
    d(x, e) / mean of d(e, its k nearest neighbours). Self-scores are computed by folds. With one
    pooled bank, no domain labels are needed; with a source and a target bank this is the
    domain-wise variant. Wilkinghoff et al., "Local Density-Based Anomaly Score Normalization for
    Domain Generalization" (2025), k = 4 to 16.

    Args:
        bank: {domain: "r e"}; k is limited to r - 1.
        distance: "cosine" or "euclidean".
        k: number of neighbours from which the density of a clip is estimated.
        neighbours: number of clips of the bank whose normalised distances are averaged.

    Complexity: O(r^2 e) to fit, O(n r e) to score.
    """

    def fit(bank):
        return {
            domain: _scorer(vectors, distance, k, neighbours) for domain, vectors in bank.items()
        }

    # The density at a clip needs at least one other clip.
    return fit_by_folds(fit, bank, fewest=2)


def sparsity(vectors: np.ndarray, distance: str, k: int) -> np.ndarray:
    """Returns the mean distance "r" of each vector "r e" to its k nearest neighbours."""
    return np.maximum(nearest(vectors, vectors, k, distance, leave_one_out=True)[0].mean(1), _FLOOR)


def _scorer(vectors, distance, k, neighbours):
    # Densities are learnt once from the bank, so a test clip cannot change them.
    scale = sparsity(vectors, distance, k)
    return lambda test: nearest(test, vectors, neighbours, distance, scale=scale)[0].mean(1)
