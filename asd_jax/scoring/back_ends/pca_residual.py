"""PCA residual: the part of a clip that the principal components of normal clips cannot explain."""

import numpy as np

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds


def pca_residual(bank: Bank, *, components: int = 20) -> Fitted:
    """Returns a back end whose score is the length of x - m outside the first principal components.

    The components are those of each domain. Self-scores are computed by folds.

    Args:
        bank: {domain: "r e"}, at least 2 clips each.
        components: number of components, limited to half the clips and to one less than the
            dimensions, so that some variation is left unexplained: without any, the scores would be
            rounding errors.

    Complexity: O(r^2 e) to fit, O(n components e) to score.
    """

    def fit(bank):
        return {domain: _scorer(vectors, components) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def principal_components(vectors: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean "e" and the first principal axes "c e" of vectors "r e"."""
    mean = vectors.mean(0)
    # The right singular vectors of centred clips are the axes; no e x e covariance is needed.
    axes = np.linalg.svd(vectors - mean, full_matrices=False)[2]
    return mean, axes[: min(components, max(1, len(vectors) // 2), max(1, vectors.shape[1] - 1))]


def _scorer(vectors, components):
    mean, axes = principal_components(vectors, components)

    def score(test):
        centred = test - mean
        return np.linalg.norm(centred - centred @ axes.T @ axes, axis=1)

    return score
