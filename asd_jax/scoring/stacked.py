"""Joins several embeddings of the same clips, e.g. of two microphones or of several checkpoints.

The score of a clip is then the mean of the scores of all of them, each standardised by its own
normal clips (`scoring.layers=mean_score`).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings

_SAME = ("files", "section", "split", "domain", "label")


def stacked(parts: Mapping[str, Embeddings]) -> Embeddings:
    """Returns embeddings with one layer, "clip layer embedding", for each part.

    Bands of a part become one vector.

    Args:
        parts: {where it comes from: embeddings of one machine}; clips may be in any order.

    Raises:
        InputError: the parts are not of the same clips, already have layers, or differ in width.
            The message names two parts.
    """
    sorted_parts = {name: part[_order(part)] for name, part in parts.items()}
    (first, of), *others = sorted_parts.items()
    vectors = {}
    for name, part in sorted_parts.items():
        if "layer" in part.axes:
            raise InputError(f"{name}: has layers already, so it cannot be one of several")
        # A layer is one vector, so bands are laid one after the other.
        vectors[name] = part.vectors.reshape(len(part.vectors), -1)
    for name, part in others:
        if different := [key for key in _SAME if not _equal(getattr(of, key), getattr(part, key))]:
            raise InputError(
                f"{first} and {name} must be of the same clips, but differ in {different[0]}"
            )
        if not _equal(of.window_start_seconds, part.window_start_seconds):
            raise InputError(f"{first} and {name} must be of the same windows of the clips")
    widths = {name: of_it.shape[1] for name, of_it in vectors.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{width} in {name}" for name, width in widths.items())
        raise InputError(f"embeddings to join must have one width, found {listed}")
    axes = ("clip", "layer", "embedding")
    return dataclasses.replace(of, vectors=np.stack(list(vectors.values()), axis=1), axes=axes)


def _order(part: Embeddings) -> np.ndarray:
    # The parts may list the same clips in different orders.
    return np.lexsort((part.starts, part.files, part.split))


def _equal(one: np.ndarray | Sequence | None, other: np.ndarray | Sequence | None) -> bool:
    return (one is None) == (other is None) and (one is None or np.array_equal(one, other))
