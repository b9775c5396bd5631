"""AUC and partial AUC from tie groups: exact, for one set of scores or for many re-weighted copies
of it at once.
"""

import numpy as np

MAX_FPR = 0.1  # of the partial AUC, all years of DCASE Task 2


def tie_groups(label, score, weight=None) -> tuple[np.ndarray, np.ndarray]:
    """Labels "n" (0 normal, 1 anomaly) and scores "n" -> counts of normals and anomalies "... g"
    per distinct score.

    Groups run from the highest score down. `weight` "... n" counts a clip more than once or not at
    all: a bootstrap draws many such rows, and the scores need sorting only once.
    """
    label, score = np.asarray(label), np.asarray(score)
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, np.float64)
    anomalous = label[order] == 1
    weight = weight[..., order]
    return (
        np.add.reduceat(weight * ~anomalous, starts, axis=-1),
        np.add.reduceat(weight * anomalous, starts, axis=-1),
    )


def auc(normals, anomalies) -> np.ndarray | np.floating:
    """Tie groups "... g" -> area under the ROC curve "...", ties counted half."""
    above = np.cumsum(anomalies, axis=-1) - anomalies
    area = (normals * (above + anomalies / 2)).sum(-1)
    return area / (normals.sum(-1) * anomalies.sum(-1))


def pauc(normals, anomalies, max_fpr: float = MAX_FPR) -> np.ndarray | np.floating:
    """Tie groups "... g" -> partial AUC "..." for false positive rates up to `max_fpr`,
    standardised to chance 0.5.

    McClish 1989, as in scikit-learn's roc_auc_score(max_fpr=...): 0.5 (1 + (A - p^2/2) / (p -
    p^2/2)); the curve is linear inside a tie group, which the cut at `max_fpr` may split.
    """
    above = np.cumsum(anomalies, axis=-1) - anomalies
    before = np.cumsum(normals, axis=-1) - normals
    inside = np.clip(max_fpr * normals.sum(-1, keepdims=True) - before, 0, normals)
    share = inside / np.where(normals > 0, normals, 1)
    area = (inside * (above + share * anomalies / 2)).sum(-1) / (
        normals.sum(-1) * anomalies.sum(-1)
    )
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))
