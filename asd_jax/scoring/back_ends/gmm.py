"""Gaussian mixture: scores how unlikely a clip is among the normal clips of each domain."""

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds

_CLIPS_PER_COMPONENT = 10  # with fewer, the variances of a component cannot be estimated
_VARIANCE_FLOOR = 1e-3  # share of the mean variance that is added to each dimension's variance


def gmm(bank: Bank, *, components: int = 4, seed: int = 0) -> Fitted:
    """Returns a back end whose score is -log likelihood under a Gaussian mixture.

    There is one mixture with diagonal covariances per domain. Self-scores are computed by folds.
    Uses scikit-learn.

    Args:
        bank: {domain: "r e"}, at least 2 clips each.
        components: number of components, limited to one per 10 clips.
        seed: seed of the initial clusters.

    Complexity: O(iterations r components e) to fit, O(n components e) to score.
    """

    def fit(bank):
        return {domain: _scorer(vectors, components, seed) for domain, vectors in bank.items()}

    return fit_by_folds(fit, bank, fewest=2)


def _scorer(vectors, components, seed):
    # scikit-learn takes more than half a second to import, and few runs need it.
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        max(1, min(components, len(vectors) // _CLIPS_PER_COMPONENT)),
        covariance_type="diag",
        # Clips that are all alike have no variance, for which the fit would fail.
        reg_covar=max(_VARIANCE_FLOOR * vectors.var(0).mean(), 1e-12),
        max_iter=500,
        random_state=seed,
    ).fit(vectors)
    return lambda test: -model.score_samples(test)
