"""Local density normalisation: a distance counts for less where the bank itself is sparse."""

import numpy as np

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds
from asd_jax.scoring.back_ends.knn import nearest

_FLOOR = 1e-12  # of the mean distance inside the bank: K copies of one clip have none


def local_density(bank: Bank, *, distance: str = "cosine", k: int = 4) -> Fitted:
    """score = min over the bank's clips e of d(x, e) / mean of d(e, its k nearest); self-scores by
    folds.

    Of one pooled bank it needs no domain labels; of a source and a target bank it is the
    domain-wise variant. Wilkinghoff et al., "Local Density-Based Anomaly Score Normalization for
    Domain Generalization" (2025), k = 4 to 16.

    Args:
        bank: {domain: "r e"}; k is clamped to r - 1.
        distance: "cosine" or "euclidean".
        k: neighbours that tell a clip's density.

    Complexity: O(r^2 e) to fit, O(n r e) to score.
    """

    def fit(bank):
        return {domain: _scorer(vectors, distance, k) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def sparsity(vectors: np.ndarray, distance: str, k: int) -> np.ndarray:
    """Vectors "r e" -> mean distance of each to its k nearest among the others, "r"."""
    return np.maximum(nearest(vectors, vectors, k, distance, leave_one_out=True)[0].mean(1), _FLOOR)


def _scorer(vectors, distance, k):
    scale = sparsity(vectors, distance, k)
    return lambda test: nearest(test, vectors, 1, distance, scale=scale)[0][:, 0]
