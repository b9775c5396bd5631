"""k nearest neighbours: mean distance to the k closest clips of each bank, the field's default back end."""

import numpy as np

from asd_jax.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted

_QUERY_ROWS, _BANK_ROWS = 1024, 4096  # one block of distances: 32 MiB


def knn(bank: Bank, *, distance: str = "cosine", k: int = 1) -> Fitted:
    """score = mean of the k smallest distances to a bank, k clamped to its size; self-scores leave one out.

    Args:
        bank: {domain: "r e"}.
        distance: "cosine" (1 - cos) or "euclidean".
        k: neighbours.

    Complexity: O(n r e), memory one block of distances.
    """

    def score(test):
        return {domain: nearest(test, vectors, k, distance)[0].mean(1) for domain, vectors in bank.items()}

    def self_scores():
        return {
            clips: {
                domain: _mean(nearest(bank[clips], bank[domain], k, distance, leave_one_out=domain == clips)[0])
                for domain in bank
            }
            for clips in bank
        }

    return Fitted(score, self_scores)


def nearest(queries, bank, k: int = 1, distance: str = "cosine", *, leave_one_out: bool = False, scale=None):
    """Queries "n e", bank "r e" -> the k smallest distances "n k", ascending, and their rows in the bank "n k".

    Float64 in blocks, never the full matrix. Neighbours are picked by the expanded square |x|^2 + |b|^2 - 2xb, whose
    rounding would spoil the distance of near-duplicates; the distances returned are recomputed from the differences.

    Args:
        queries: any float array.
        bank: any float array; only blocks of it are turned to float64.
        k: neighbours, clamped to the bank's size (minus one with leave_one_out).
        distance: "cosine" or "euclidean"; a zero vector has cosine distance 1 from everything.
        leave_one_out: queries are the bank's own rows, and row i is no neighbour of itself.
        scale: "r"; distances to row r are divided by scale[r] before the smallest are picked.

    Raises:
        InputError: unknown distance, k < 1, embeddings of different length.
    """
    if distance not in ("cosine", "euclidean"):
        raise InputError(f"distance {distance!r}: must be cosine or euclidean")
    if k < 1:
        raise InputError(f"k = {k}: must be at least 1")
    if queries.shape[1:] != bank.shape[1:]:
        raise InputError(f"embeddings of {queries.shape[1:]} values against a bank of {bank.shape[1:]}: must be equal")
    k = min(k, len(bank) - leave_one_out)
    distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), _QUERY_ROWS) if k else ():
        part = slice(start, start + _QUERY_ROWS)
        query = unit_or_plain(queries[part], distance)
        rows[part] = _closest_rows(query, bank, k, distance, start if leave_one_out else None, scale)
        distances[part] = _exact(query, bank, rows[part], distance)
        if scale is not None:
            distances[part] /= scale[rows[part]]
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def _closest_rows(query, bank, k, distance, first_own_row, scale=None):
    """The k rows of the bank closest to each query; own rows, if any, start at `first_own_row`."""
    best, rows = np.full((len(query), k), np.inf), np.zeros((len(query), k), np.int64)
    for start in range(0, len(bank), _BANK_ROWS):
        block = unit_or_plain(bank[start : start + _BANK_ROWS], distance)
        square = query @ block.T
        square *= -2
        square += np.einsum("re,re->r", block, block)
        if scale is not None:  # else |x|^2, the same for the whole row, can be left out
            square += np.einsum("ne,ne->n", query, query)[:, None]
            square /= np.power(scale[start : start + _BANK_ROWS], 1 if distance == "cosine" else 2)
        if first_own_row is not None:
            own = np.arange(len(query)) + first_own_row - start
            inside = (own >= 0) & (own < len(block))
            square[np.flatnonzero(inside), own[inside]] = np.inf
        closer = np.flatnonzero(square.min(1) < best.max(1))  # after the first blocks, few queries
        values = np.concatenate([best[closer], square[closer]], 1)
        pick = np.argpartition(values, k - 1, axis=1)[:, :k]
        best[closer] = np.take_along_axis(values, pick, 1)
        known = np.take_along_axis(rows[closer], np.minimum(pick, k - 1), 1)
        rows[closer] = np.where(pick < k, known, pick - k + start)
    return rows


def _exact(query, bank, rows, distance):
    """Distances of each query to its own rows of the bank, from the differences."""
    distances = np.empty(rows.shape)
    step = max(1, 2**22 // max(1, rows.shape[1] * query.shape[1]))  # 32 MiB of differences
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        flat = unit_or_plain(bank[rows[part].ravel()], distance)
        found = flat.reshape(*rows[part].shape, -1)
        square = np.square(found - query[part, None]).sum(-1)
        if distance == "cosine":  # |u - v|^2 = 2 - 2uv for unit vectors; a zero vector lacks one 1
            zeros = 1.0 * ~query[part].any(-1)[:, None] + ~found.any(-1)
            distances[part] = (square + zeros) / 2
        else:
            distances[part] = np.sqrt(square)
    return distances


def unit_or_plain(vectors, distance):
    """Float64; for cosine, divided by the length (zero vectors stay zero)."""
    vectors = np.asarray(vectors, np.float64)
    if distance == "euclidean":
        return vectors
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _mean(distances):
    """Mean over neighbours, NaN where there is none."""
    return distances.mean(1) if distances.shape[1] else np.full(len(distances), np.nan)
