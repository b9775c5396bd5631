import numpy as np

from asd_jax.scoring.coreset import coreset


def test_coreset_covers_clusters_of_any_size():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    x = np.repeat(centres, [100, 3, 2], axis=0) + rng.normal(size=(105, 2)).astype(np.float32)
    kept = coreset(x, 3)
    assert len(kept) == 3 and len(set(np.abs(x[kept, None] - centres).sum(2).argmin(1))) == 3
    assert len(coreset(x, 1000)) == 105
