"""Chooses a few vectors that cover all of them."""

import numpy as np


def coreset(vectors: np.ndarray, size: int) -> np.ndarray:
    """Returns the rows of `size` vectors that cover all vectors "r ...".

    The rows are chosen by greedy k-centre selection, as in PatchCore (CVPR 2022), starting with the
    vector closest to the mean. Takes O(size r e).
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    # Standardising keeps dimensions with a large variance from dominating the distances.
    flat = (flat - flat.mean(0)) / np.maximum(flat.std(0), np.finfo(np.float32).tiny)
    chosen = [int(np.argmin(np.square(flat).sum(1)))]
    nearest = np.full(len(flat), np.inf)
    while len(chosen) < min(size, len(flat)):
        # Only the newest centre can shorten a distance, so each round takes one pass.
        nearest = np.minimum(nearest, np.square(flat - flat[chosen[-1]]).sum(1))
        chosen.append(int(np.argmax(nearest)))
    return np.sort(chosen)
