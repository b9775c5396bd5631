"""Windows of one clip: from their scores to one score."""

import numpy as np
from jaxtyping import Float, Int

from asd_jax.runtime.errors import InputError


def merge_windows(
    scores: Float[np.ndarray, "w"], clip: Int[np.ndarray, "w"], *, how: str = "mean"
) -> Float[np.ndarray, "b"]:
    """Scores of windows and the number 0..b-1 of the clip of each -> the "mean" or "max" score of
    each clip.

    Raises:
        InputError: no such way to merge.
    """
    if how not in ("mean", "max"):
        raise InputError(f"no way {how!r} to merge the scores of windows; choose mean or max")
    if how == "mean":
        return np.bincount(clip, scores) / np.bincount(clip)
    merged = np.full(clip.max() + 1, -np.inf)
    np.maximum.at(merged, clip, scores)
    return merged
