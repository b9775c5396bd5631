"""SMOTE: fills the target bank with points between its clips.

This lets a few target clips cover their domain.
"""

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, canonical_order
from asd_jax.scoring.back_ends.knn import knn, unit_or_plain


def smote(
    bank: Bank,
    *,
    distance: str = "cosine",
    k: int = 1,
    ratio: float = 0.2,
    smote_k: int = 2,
    seed: int = 0,
) -> Fitted:
    """Returns a kNN back end whose target bank is enlarged by SMOTE to `ratio` times the source
    bank.

    The score is the mean distance to the k nearest neighbours. Self-scores are those of plain kNN,
    from real clips only. Chawla et al., "SMOTE" (JAIR 2002), by imbalanced-learn.

    Args:
        bank: {"source", "target"}, each "r e".
        distance: "cosine" (SMOTE then runs on vectors of length 1) or "euclidean".
        k: number of neighbours of kNN.
        ratio: clips of the enlarged target bank per source clip; a target bank that is already this
            large stays as it is.
        smote_k: number of neighbours among which SMOTE interpolates, limited to the target bank.
        seed: seed of the draws, which do not depend on the order of the clips.

    Complexity: O(n (1 + ratio) r e).

    Raises:
        InputError: the source or the target bank is missing, the target bank has one clip, or the
            ratio is outside (0, 1].
    """
    # It imports scikit-learn, which takes more than half a second, and few runs need it.
    from imblearn.over_sampling import SMOTE

    source, target = source_and_target(bank, "smote")
    if not 0 < ratio <= 1:
        raise InputError(f"smote ratio {ratio}: must lie in (0, 1]")
    if len(target) < 2:
        raise InputError("smote: needs at least two target training clips to interpolate between")
    if ratio * len(source) - len(target) < 1:  # SMOTE would add less than one clip
        return knn(bank, distance=distance, k=k)
    # SMOTE draws rows by number, so the order of the clips would otherwise change the result.
    source, target = (unit_or_plain(v, distance)[canonical_order(v)] for v in (source, target))
    sampler = SMOTE(
        sampling_strategy=ratio, k_neighbors=min(smote_k, len(target) - 1), random_state=seed
    )
    # imbalanced-learn enlarges the smaller of two classes, which are the domains here.
    labels = np.repeat([0, 1], [len(source), len(target)])
    grown, labels = sampler.fit_resample(np.concatenate([source, target]), labels)
    # Synthetic points lie near the clips that they come from, so self-scores use real clips only.
    fitted = knn({"source": bank["source"], "target": grown[labels == 1]}, distance=distance, k=k)
    return Fitted(fitted.score, knn(bank, distance=distance, k=k).self_scores)


def source_and_target(bank: Bank, name: str):
    """Returns the banks of both domains in float64.

    Raises:
        InputError: a bank is missing.
    """
    if set(bank) != {"source", "target"}:
        raise InputError(
            f"{name}: needs a source and a target bank, found {', '.join(bank)}; use knn"
        )
    return np.asarray(bank["source"], np.float64), np.asarray(bank["target"], np.float64)
