"""PCA residual: how much of a clip the directions in which normal clips vary cannot explain."""

import numpy as np

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds


def pca_residual(bank: Bank, *, components: int = 20) -> Fitted:
    """score = length of x - m outside the first principal components of each domain; self-scores by
    folds.

    Args:
        bank: {domain: "r e"}, at least 2 clips each.
        components: clamped to half the clips, so that some variation is left to be surprised by.

    Complexity: O(r^2 e) to fit, O(n components e) to score. PCA by scikit-learn, full SVD.
    """

    def fit(bank):
        return {domain: _scorer(vectors, components) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def principal_components(vectors: np.ndarray, components: int):
    """Vectors "r e" -> their PCA, as scikit-learn has it."""
    from sklearn.decomposition import PCA

    return PCA(min(components, max(1, len(vectors) // 2), vectors.shape[1]), svd_solver="full").fit(
        vectors
    )


def _scorer(vectors, components):
    pca = principal_components(vectors, components)

    def score(test):
        return np.linalg.norm(test - pca.inverse_transform(pca.transform(test)), axis=1)

    return score
