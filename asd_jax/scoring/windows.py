"""Merges the scores of a clip's windows into one score."""

import numpy as np
from jaxtyping import Float, Int

from asd_jax.runtime.errors import InputError


def merge_windows(
    scores: Float[np.ndarray, "w"], clip: Int[np.ndarray, "w"], *, how: str = "mean"
) -> Float[np.ndarray, "b"]:
    """Returns one score per clip "b": the mean or the maximum of the scores of its windows.

        merge_windows(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))  # [2.0, 5.0]

    Args:
        scores: score of each window, "w".
        clip: number 0..b-1 of each window's clip, "w".
        how: "mean" or "max".

    Raises:
        InputError: `how` is neither "mean" nor "max".
    """
    if how not in ("mean", "max"):
        raise InputError(f"no way {how!r} to merge the scores of windows; choose mean or max")
    if how == "mean":
        return np.bincount(clip, scores) / np.bincount(clip)
    merged = np.full(clip.max() + 1, -np.inf)
    # Unlike an indexed maximum, `at` takes every window of a clip into account.
    np.maximum.at(merged, clip, scores)
    return merged
