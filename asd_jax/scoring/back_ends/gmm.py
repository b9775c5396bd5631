"""Gaussian mixture: how unlikely a clip is among the normal clips of each domain."""

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds

_CLIPS_PER_COMPONENT = 10  # fewer say nothing about a component's variances
_VARIANCE_FLOOR = 1e-3  # of the mean variance, added to every dimension's


def gmm(bank: Bank, *, components: int = 4, seed: int = 0) -> Fitted:
    """score = -log likelihood under a diagonal Gaussian mixture per domain; self-scores by folds.

    Args:
        bank: {domain: "r e"}, at least 2 clips each.
        components: clamped to one per 10 clips.
        seed: of the starting clusters.

    Complexity: O(iterations r components e) to fit, O(n components e) to score. By scikit-learn.
    """

    def fit(bank):
        return {domain: _scorer(vectors, components, seed) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def _scorer(vectors, components, seed):
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        max(1, min(components, len(vectors) // _CLIPS_PER_COMPONENT)),
        covariance_type="diag",
        reg_covar=max(_VARIANCE_FLOOR * vectors.var(0).mean(), 1e-12),
        max_iter=500,
        random_state=seed,
    ).fit(vectors)
    return lambda test: -model.score_samples(test)
