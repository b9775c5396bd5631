"""Per-band matching: finds the nearest clips in each frequency band separately."""

import functools

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted
from asd_jax.scoring.back_ends.fusion import fuse, on_columns
from asd_jax.scoring.back_ends.knn import knn


def band_matching(bank: Bank, *, bands: int, distance: str = "cosine", k: int = 1) -> Fitted:
    """Returns a back end whose score is the mean over bands of the kNN distance in each band.

    The kNN distance is the mean distance to the k nearest clips, which are found in each band
    separately. Unlike in kNN on the flattened vector, no clip has to match in all bands at once,
    and no loud band outweighs the others. Saengthong and Shinozaki, "Sub-Band Spectral Matching
    with Localized Score Aggregation" (BEAM, 2026).

    Args:
        bank: {domain: "r (bands e)"}.
        bands: number of bands in a vector, stored one after the other.
        distance: "cosine" or "euclidean".
        k: number of neighbours.

    Complexity: that of kNN.

    Raises:
        InputError: fewer than two bands.
    """
    if bands < 2:
        raise InputError(
            "band_matching: needs embeddings that keep their bands (axes clip, band, embedding); "
            "use knn"
        )
    width = next(iter(bank.values())).shape[1] // bands
    one = functools.partial(knn, distance=distance, k=k)
    # All bands use one distance, so their scores need no standardising before the mean.
    return fuse(
        bank,
        [on_columns(one, slice(i * width, (i + 1) * width)) for i in range(bands)],
        fusion="raw_mean",
    )
