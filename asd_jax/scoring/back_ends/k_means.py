"""k-means: the source bank condensed to a few centres, the target bank kept as it is."""

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds
from asd_jax.scoring.back_ends.knn import nearest, unit_or_plain


def k_means(bank: Bank, *, distance: str = "cosine", centres: int = 16, seed: int = 0) -> Fitted:
    """score = distance to the closest centre of the source bank, or to the closest clip of the
    target bank.

    A pooled bank is condensed as a whole. For cosine, k-means (scikit-learn, best of 4 starts) runs
    on vectors of length 1. Self-scores by folds.

    Args:
        bank: {domain: "r e"}.
        distance: "cosine" or "euclidean".
        centres: per condensed bank, clamped to its size.
        seed: of the starts.

    Complexity: O(iterations r centres e) to fit, O(n (centres + t) e) to score against t target
    clips.
    """

    def fit(bank):
        return {
            domain: scorer(v if domain == "target" else condensed(v)) for domain, v in bank.items()
        }

    def condensed(vectors):
        from sklearn.cluster import KMeans

        model = KMeans(min(centres, len(vectors)), n_init=4, random_state=seed)
        return model.fit(unit_or_plain(vectors, distance)).cluster_centers_

    def scorer(rows):
        return lambda test: nearest(test, rows, 1, distance)[0][:, 0]

    return fit_by_folds(fit, bank)
