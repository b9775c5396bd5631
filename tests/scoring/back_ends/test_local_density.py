import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST, by_loop

from asd_jax.scoring.back_ends.local_density import local_density


def test_the_nearest_few_are_averaged_and_copies_have_the_least_distance():
    bank = {"source": np.array([[0.0], [2.0], [5.0], [5.0]])}
    # With one neighbour each, the clips lie 2, 2, 0 and 0 apart.
    score = local_density(bank, distance="euclidean", k=1, neighbours=2).score
    found = score(np.array([[3.0], [5.0]]))["source"]
    assert found == pytest.approx([(1 / 2 + 3 / 2) / 2, 0])
    nearest = local_density({"source": np.ones((2, 1))}, distance="euclidean").score
    assert nearest(np.array([[2.0]]))["source"] == pytest.approx([1e12])


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    "bank", [BANK, {"pooled": np.concatenate([SOURCE, TARGET])}], ids=["domains", "pooled"]
)
def test_local_density_divides_by_the_neighbours_own_mean_distance(bank, distance):
    found = local_density(bank, distance=distance, k=4).score(TEST)
    for domain, vectors in bank.items():
        inside = by_loop(vectors, vectors, distance)
        np.fill_diagonal(inside, np.inf)
        expected = (by_loop(TEST, vectors, distance) / np.sort(inside, axis=1)[:, :4].mean(1)).min(
            1
        )
        assert found[domain] == pytest.approx(expected, abs=1e-12)
