"""MemMixup: extends the target bank towards the source clips near it."""

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted
from asd_jax.scoring.back_ends.knn import knn, nearest
from asd_jax.scoring.back_ends.smote import source_and_target


def mem_mixup(
    bank: Bank, *, distance: str = "cosine", k: int = 1, mixup_k: int = 990, weight: float = 0.9
) -> Fitted:
    """Returns a kNN back end whose target bank also holds mixtures of target and source clips.

    The mixtures are w t + (1 - w) s for each target clip t and each s among the `mixup_k` source
    clips nearest to t. The score is the mean distance to the k nearest neighbours. Self-scores are
    those of plain kNN, from real clips only. Saengthong and Shinozaki, "Deep Generic
    Representations for Domain-Generalized Anomalous Sound Detection" (GenRep, 2024), weight 0.9, up
    to all 990 source clips.

    Args:
        bank: {"source", "target"}, each "r e".
        distance: "cosine" or "euclidean", for neighbours and scores.
        k: number of neighbours of kNN.
        mixup_k: number of source clips mixed with each target clip, limited to the source bank.
        weight: w, the weight of the target clip.

    Complexity: O(n t mixup_k e) for t target clips.

    Raises:
        InputError: the source or the target bank is missing, or the weight is outside [0, 1].
    """
    source, target = source_and_target(bank, "mem_mixup")
    if not 0 <= weight <= 1:
        raise InputError(f"mem_mixup weight {weight}: must lie in [0, 1]")
    _, rows = nearest(target, source, mixup_k, distance)
    mixed = weight * target[:, None] + (1 - weight) * source[rows]
    extended = np.concatenate([target, mixed.reshape(-1, target.shape[1])])
    fitted = knn({"source": source, "target": extended}, distance=distance, k=k)
    # A mixture of a clip is close to the clip itself, so self-scores must not use the extended
    # bank.
    return Fitted(fitted.score, knn(bank, distance=distance, k=k).self_scores)
