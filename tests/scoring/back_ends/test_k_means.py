import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST, by_loop, unit
from sklearn.cluster import KMeans

from asd_jax.scoring.back_ends.k_means import k_means


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_k_means_keeps_the_target_clips_and_condenses_the_source(distance):
    found = k_means(BANK, distance=distance, centres=5).score(TEST)
    assert found["target"] == pytest.approx(by_loop(TEST, TARGET, distance).min(1), abs=1e-14)
    ordered = SOURCE[np.lexsort(SOURCE.T[::-1])]
    model = KMeans(5, n_init=4, random_state=0).fit(
        ordered if distance == "euclidean" else unit(ordered)
    )
    assert found["source"] == pytest.approx(
        by_loop(TEST, model.cluster_centers_, distance).min(1), abs=1e-12
    )
    # As many centres as clips are the clips.
    all_of_them = k_means({"source": TARGET}, distance=distance, centres=1000).score(TARGET)
    assert all_of_them["source"] == pytest.approx(np.zeros(len(TARGET)), abs=1e-7)
