"""Computes AUC and partial AUC exactly from groups of tied scores.

One call handles a set of scores or many re-weighted copies of it.
"""

import numpy as np

MAX_FPR = 0.1  # false positive rate up to which pAUC counts, in all years of DCASE Task 2


def tie_groups(label, score, weight=None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of normal clips and of anomalies "... g" for each distinct score.

    Groups are ordered from the highest score to the lowest.

        auc(*tie_groups(np.array([0, 1, 1]), np.array([0.1, 0.4, 0.3])))  # 1.0

    Args:
        label: 0 (normal) or 1 (anomaly) of each clip, "n".
        score: score of each clip, "n".
        weight: how often each clip counts, "... n"; a bootstrap draws many such rows, and the
            scores need to be sorted only once.
    """
    label = np.asarray(label)
    score = np.asarray(score)
    order = np.argsort(-score, kind="stable")
    # Clips with equal scores cannot be ranked, so they form a group.
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, np.float64)
    anomalous = label[order] == 1
    weight = weight[..., order]
    return (
        np.add.reduceat(weight * ~anomalous, starts, axis=-1),
        np.add.reduceat(weight * anomalous, starts, axis=-1),
    )


def auc(normals, anomalies) -> np.ndarray | np.floating:
    """Returns the area under the ROC curve "..." of tie groups "... g"; ties count half."""
    above = np.cumsum(anomalies, axis=-1) - anomalies
    area = (normals * (above + anomalies / 2)).sum(-1)
    return area / (normals.sum(-1) * anomalies.sum(-1))


def pauc(normals, anomalies, max_fpr: float = MAX_FPR) -> np.ndarray | np.floating:
    """Returns the partial AUC "..." of tie groups "... g" up to `max_fpr`, with chance at 0.5.

    It is standardised by McClish 1989, as in scikit-learn's roc_auc_score(max_fpr=...): 0.5 (1 + (A
    - p^2/2) / (p - p^2/2)). The curve is linear inside a tie group, and the cut at `max_fpr` may
    split a group.
    """
    above = np.cumsum(anomalies, axis=-1) - anomalies
    before = np.cumsum(normals, axis=-1) - normals
    # The normal clips of each group that lie before the cut.
    inside = np.clip(max_fpr * normals.sum(-1, keepdims=True) - before, 0, normals)
    # A group of anomalies alone adds no area; dividing by 1 keeps NaN out of the sum.
    share = inside / np.where(normals > 0, normals, 1)
    area = (inside * (above + share * anomalies / 2)).sum(-1) / (
        normals.sum(-1) * anomalies.sum(-1)
    )
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))
