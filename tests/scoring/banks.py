"""Banks of embeddings that the tests of back ends share, and the distances of all their pairs."""

import functools

import numpy as np

from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis


def by_loop(queries, bank, distance):
    """All distances, one pair at a time."""
    found = np.empty((len(queries), len(bank)))
    for i, x in enumerate(queries):
        for j, e in enumerate(bank):
            cosine = 1 - np.dot(x, e) / (np.linalg.norm(x) * np.linalg.norm(e))
            found[i, j] = cosine if distance == "cosine" else np.linalg.norm(x - e)
    return found


RNG = np.random.default_rng(0)
SOURCE = RNG.normal(size=(60, 8)) * np.linspace(0.5, 2, 8) + 2
TARGET = RNG.normal(size=(7, 8)) - 1
TEST = RNG.normal(size=(15, 8)) + 1
BANK = {"source": SOURCE, "target": TARGET}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


FITS = [functools.partial(knn, distance="euclidean"), mahalanobis]


def z_scores(domain, fit):
    fitted = fit(BANK)
    own = fitted.self_scores()[domain][domain]
    return (fitted.score(TEST)[domain] - own.mean()) / own.std()
