import numpy as np
import pytest

from asd_jax.reporting.sections import project
from asd_jax.scoring.embeddings import Embeddings


@pytest.mark.slow  # UMAP compiles itself
def test_umap_keeps_neighbours_together_and_is_the_same_again():
    blob = np.repeat([0, 1], 20)
    vectors = np.random.default_rng(0).normal(size=(40, 8)) + 10 * np.eye(8)[blob]
    columns = [np.full(40, "00"), np.full(40, "test"), np.full(40, "source"), blob, np.full(40, "")]
    embeddings = Embeddings(vectors.astype(np.float32), np.arange(40).astype(str), *columns)
    points, _, caption = project(embeddings, "umap")
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(40)
    assert (blob[distance.argmin(1)] == blob).all() and "UMAP" in caption
    assert (project(embeddings, "umap")[0] == points).all()
