import numpy as np

from asd_jax.scoring.coreset import coreset


def test_coreset_covers_clusters_of_any_size():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    x = np.repeat(centres, [100, 3, 2], axis=0) + rng.normal(size=(105, 2)).astype(np.float32)
    kept = coreset(x, 3)
    assert len(kept) == 3 and len(set(np.abs(x[kept, None] - centres).sum(2).argmin(1))) == 3
    assert len(coreset(x, 1000)) == 105


def test_the_first_is_nearest_to_the_mean_and_each_further_one_farthest_from_the_chosen():
    line = np.array([[0.0], [4.0], [5.0], [11.0]])  # mean 5
    assert [coreset(line, size).tolist() for size in (1, 2, 3, 4)] == [
        [2],
        [2, 3],
        [0, 2, 3],
        [0, 1, 2, 3],
    ]


def test_dimensions_count_alike_whatever_their_unit():
    x = np.random.default_rng(0).normal(size=(50, 3))
    plain = coreset(x, 10).tolist()
    assert coreset(x * [1, 1000, 1], 10).tolist() == plain
    assert coreset((x * 1e-3).astype(np.float16).reshape(50, 3, 1), 50).tolist() == list(range(50))
    # One that never varies counts for nothing.
    assert coreset(np.concatenate([x, np.full((50, 1), 7.0)], axis=1), 10).tolist() == plain
