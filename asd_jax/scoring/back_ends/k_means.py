"""k-means: reduces the source bank to a few centres and keeps the target bank as it is."""

from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds
from asd_jax.scoring.back_ends.knn import nearest, unit_or_plain


def k_means(bank: Bank, *, distance: str = "cosine", centres: int = 16, seed: int = 0) -> Fitted:
    """Returns a back end whose score is the distance to the nearest centre or target clip.

    The source bank is replaced by its k-means centres, the target bank keeps its clips, and a
    pooled bank is replaced as a whole. For the cosine distance, k-means (scikit-learn, best of 4
    starts) runs on vectors of length 1. Self-scores are computed by folds.

    Args:
        bank: {domain: "r e"}.
        distance: "cosine" or "euclidean".
        centres: number of centres per bank, limited to its size.
        seed: seed of the starts.

    Complexity: O(iterations r centres e) to fit, O(n (centres + t) e) to score against t target
    clips.
    """

    def fit(bank):
        # The target clips are few, and centres would blur what they show of their domain.
        return {
            domain: scorer(v if domain == "target" else condensed(v)) for domain, v in bank.items()
        }

    def condensed(vectors):
        # scikit-learn takes more than half a second to import, and few runs need it.
        from sklearn.cluster import KMeans

        model = KMeans(min(centres, len(vectors)), n_init=4, random_state=seed)
        return model.fit(unit_or_plain(vectors, distance)).cluster_centers_

    def scorer(rows):
        return lambda test: nearest(test, rows, 1, distance)[0][:, 0]

    return fit_by_folds(fit, bank)
