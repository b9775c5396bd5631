"""k nearest neighbours: mean distance to the k closest clips of each bank, the field's default."""

import functools

import numpy as np
from numpy.typing import DTypeLike

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, folds_of

# one block of distances: 32 MiB
_QUERY_ROWS = 1024
_BANK_ROWS = 4096
_LARGE = 100_000  # rows from which a float32 bank is searched in float32 first
_FOLDS = 10  # number of folds into which groups are divided for self-scores
_SPARE = 8  # extra neighbours that the float32 search finds


def knn(bank: Bank, *, distance: str = "cosine", k: int = 1, on_device: bool = False) -> Fitted:
    """Returns a back end whose score is the mean of the k smallest distances to a bank.

    k is limited to the size of the bank. Self-scores are computed by leave-one-out, or with groups
    by leaving out a tenth of the groups at a time.

    Args:
        bank: {domain: "r e"}.
        distance: "cosine" (1 - cos) or "euclidean".
        k: number of neighbours.
        on_device: whether banks of at least 100,000 float32 rows are searched by JAX on its default
            device.

    Complexity: O(n r e), self-scores O(r^2 e); memory for one block of distances.
    """
    near = functools.partial(nearest, k=k, distance=distance, on_device=on_device)

    def score(test):
        return {domain: near(test, vectors)[0].mean(1) for domain, vectors in bank.items()}

    def self_scores(groups=None):
        return {
            clips: {
                d: own(clips, groups) if d == clips else _mean(near(bank[clips], bank[d])[0])
                for d in bank
            }
            for clips in bank
        }

    def own(domain, groups):
        vectors = bank[domain]
        if groups is None:
            return _mean(near(vectors, vectors, leave_one_out=True)[0])
        found = np.empty(len(vectors))
        # Each fold copies the rest of the bank; leaving out single groups would copy it for each.
        fold = folds_of(groups[domain], _FOLDS)
        for out in range(fold.max() + 1):
            found[fold == out] = _mean(near(vectors[fold == out], vectors[fold != out])[0])
        return found

    return Fitted(score, self_scores)


def nearest(
    queries,
    bank,
    k: int = 1,
    distance: str = "cosine",
    *,
    leave_one_out: bool = False,
    scale=None,
    on_device: bool = False,
):
    """Returns the k smallest distances "n k", ascending, and their rows in the bank "n k".

    Distances are computed in float64 and in blocks, never as the full matrix. Neighbours are chosen
    by the expanded square |x|^2 + |b|^2 - 2xb. Because its rounding would spoil the distance of
    near-duplicates, the returned distances are recomputed from the differences. Large float32 banks
    are searched in float32 for a few neighbours more than asked for. If the error bound of that
    search cannot guarantee that the k nearest are among them, the query is searched again in
    float64.

        distances, rows = nearest(queries, bank, k=2, distance="euclidean")

    Args:
        queries: any float array "n e".
        bank: any float array "r e"; only blocks of it are converted to float64.
        k: number of neighbours, limited to the size of the bank (minus one with leave_one_out).
        distance: "cosine" or "euclidean"; a zero vector has cosine distance 1 from everything.
        leave_one_out: whether the queries are the rows of the bank; row i is then no neighbour of
            itself.
        scale: "r"; distances to row r are divided by scale[r] before the smallest are chosen.
        on_device: whether the float32 search is done by JAX.

    Raises:
        InputError: the distance is unknown, k < 1, or the embeddings have different lengths.
    """
    if distance not in ("cosine", "euclidean"):
        raise InputError(f"distance {distance!r}: must be cosine or euclidean")
    if k < 1:
        raise InputError(f"k = {k}: must be at least 1")
    if queries.shape[1:] != bank.shape[1:]:
        raise InputError(
            f"embeddings of {queries.shape[1:]} values against a bank of {bank.shape[1:]}: must "
            "be equal"
        )
    # k becomes 0 for a bank of one clip that is left out; the loop below then has no rounds.
    k = min(k, len(bank) - leave_one_out)
    distances = np.empty((len(queries), k))
    rows = np.empty((len(queries), k), np.int64)
    # The error bound of the float32 search holds for plain distances only.
    sieve = scale is None and bank.dtype == np.float32 and len(bank) >= max(_LARGE, k + _SPARE + 1)
    for start in range(0, len(queries), _QUERY_ROWS) if k else ():
        part = slice(start, start + _QUERY_ROWS)
        query = unit_or_plain(queries[part], distance)
        own = start + np.arange(len(query)) if leave_one_out else None
        if sieve:
            rows[part] = _sieved_rows(
                query=query, bank=bank, k=k, distance=distance, own=own, on_device=on_device
            )
        else:
            rows[part] = _closest_rows(
                query=query, bank=bank, k=k, distance=distance, own=own, scale=scale
            )[0]
        distances[part] = _exact(query, bank, rows[part], distance)
        if scale is not None:
            distances[part] /= scale[rows[part]]
    # The recomputed distances may be in another order than those of the search.
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def _sieved_rows(query, bank, k, distance, own, on_device):
    """Returns the k rows nearest to each query, found in float32 if its error bound allows it."""
    search = _closest_rows_on_device if on_device else _closest_rows
    # Values beyond float32 become infinite there; such queries are searched again below.
    with np.errstate(over="ignore", invalid="ignore"):
        found, beyond, longest = search(query.astype(np.float32), bank, k + _SPARE, distance, own)
    exact = _exact(query, bank, found, distance)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    last = np.take_along_axis(exact, order, 1)[:, -1]
    length = np.linalg.norm(query, axis=1)
    # The search ranks by |b|^2 - 2xb, so the exact distances are converted to that.
    value = (2 * last if distance == "cosine" else last**2) - length**2
    # A safe bound on the rounding of |b|^2 - 2xb, sums of e terms in float32.
    error = 2 * query.shape[1] * np.finfo(np.float32).eps * (length + longest) ** 2
    rows = np.take_along_axis(found, order, 1)
    # Where the bound leaves a doubt, float64 decides.
    open_ = ~((value + error < beyond) & np.isfinite(beyond))
    if open_.any():
        rows[open_] = _closest_rows(
            query[open_], bank, k, distance, None if own is None else own[open_]
        )[0]
    return rows


def _closest_rows(query, bank, k, distance, own, scale=None):
    """Returns the k nearest rows, a lower bound for all other rows, and the longest length.

    The bound is on the squared distance without |x|^2, computed in the precision of `query`. `own`
    holds the rows that are the queries themselves, or is None.
    """
    best = np.full((len(query), k), np.inf, query.dtype)
    rows = np.zeros((len(query), k), np.int64)
    longest = 0.0
    doubled = -2 * query
    for start in range(0, len(bank), _BANK_ROWS):
        block = unit_or_plain(bank[start : start + _BANK_ROWS], distance, query.dtype)
        norms = np.einsum("re,re->r", block, block)
        if distance == "cosine":
            norms[norms == 0] = 1  # gives distance 1 from everything, as in _exact
        longest = max(longest, float(np.sqrt(norms.max())))
        square = doubled @ block.T
        square += norms
        # Without a scale, |x|^2 is the same for the whole row and can be left out.
        if scale is not None:
            square += np.einsum("ne,ne->n", query, query)[:, None]
            # A cosine distance is half a square itself, a Euclidean one is the root of one.
            square /= np.power(scale[start : start + _BANK_ROWS], 1 if distance == "cosine" else 2)
        if own is not None:
            inside = np.flatnonzero((own >= start) & (own < start + len(block)))
            square[inside, own[inside] - start] = np.inf
        # After the first blocks, only a few queries find anything closer.
        closer = np.flatnonzero(square.min(1) < best.max(1))
        values = np.concatenate([best[closer], square[closer]], 1)
        # Unsorted, as `nearest` sorts by the recomputed distances.
        pick = np.argpartition(values, k - 1, axis=1)[:, :k]
        best[closer] = np.take_along_axis(values, pick, 1)
        # A pick below k is a neighbour found before, any other a row of this block.
        known = np.take_along_axis(rows[closer], np.minimum(pick, k - 1), 1)
        rows[closer] = np.where(pick < k, known, pick - k + start)
    return rows, best.max(1), longest


def _closest_rows_on_device(query, bank, k, distance, own):
    """Returns the same as `_closest_rows`, computed by JAX."""
    # Scoring on the host, e.g. of the official score's files, needs no JAX.
    import jax

    jnp = jax.numpy

    @jax.jit
    def merge(best, rows, block, start, own):
        norms = jnp.sum(block * block, axis=1)
        norms = jnp.where(norms == 0, 1, norms) if distance == "cosine" else norms
        # TF32 would exceed the error bound, which assumes float32.
        square = norms[None] - 2 * jnp.matmul(query, block.T, precision="highest")
        places = start + jnp.arange(len(block))
        square = jnp.where(places[None] == own[:, None], jnp.inf, square)
        values = jnp.concatenate([best, square], axis=1)
        places = jnp.concatenate([rows, jnp.broadcast_to(places, square.shape)], axis=1)
        smallest, pick = jax.lax.top_k(-values, k)
        return -smallest, jnp.take_along_axis(places, pick, axis=1), jnp.sqrt(norms.max())

    query = jnp.asarray(query)
    # No row has the number -1, so none is left out.
    own = jnp.full(len(query), -1) if own is None else jnp.asarray(own)
    best = jnp.full((len(query), k), jnp.inf)
    rows = jnp.zeros((len(query), k), jnp.int32)
    longest = 0.0
    # Larger blocks than on the host, because every call to the device costs time.
    for start in range(0, len(bank), 16 * _BANK_ROWS):
        block = unit_or_plain(bank[start : start + 16 * _BANK_ROWS], distance, np.float32)
        best, rows, length = merge(best, rows, jnp.asarray(block), start, own)
        longest = max(longest, float(length))
    return np.asarray(rows, np.int64), np.asarray(best).max(1), longest


def _exact(query, bank, rows, distance):
    """Returns the distances of each query to the given rows of the bank, from the differences."""
    distances = np.empty(rows.shape)
    step = max(1, 2**22 // (rows.shape[1] * query.shape[1]))  # 32 MiB of differences
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        flat = unit_or_plain(bank[rows[part].ravel()], distance)
        found = flat.reshape(*rows[part].shape, -1)
        square = np.square(found - query[part, None]).sum(-1)
        # For unit vectors |u - v|^2 = 2 - 2uv; each zero vector makes that smaller by 1.
        if distance == "cosine":
            zeros = 1.0 * ~query[part].any(-1)[:, None] + ~found.any(-1)
            distances[part] = (square + zeros) / 2
        else:
            distances[part] = np.sqrt(square)
    return distances


def unit_or_plain(vectors, distance, dtype: DTypeLike = np.float64):
    """Returns vectors "... e" as `dtype`; for cosine, scaled to length 1 (zeros stay zero)."""
    vectors = np.asarray(vectors, dtype)
    if distance == "euclidean":
        return vectors
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _mean(distances):
    """Returns the mean over neighbours, NaN where there are none."""
    return distances.mean(1) if distances.shape[1] else np.full(len(distances), np.nan)
