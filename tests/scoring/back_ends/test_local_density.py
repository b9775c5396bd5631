import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST, by_loop

from asd_jax.scoring.back_ends.local_density import local_density


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
