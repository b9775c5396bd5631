import numpy as np

from asd_jax.scoring.distances import distances


def test_distances_are_those_of_each_pair():
    query = np.array([[0.0, 0.0], [3.0, 4.0]])
    bank = np.array([[0.0, 0.0], [0.0, 4.0], [6.0, 8.0]])
    assert distances(query, bank).tolist() == [[0.0, 4.0, 10.0], [5.0, 3.0, 5.0]]
    assert distances(query, bank, "sqeuclidean")[1].tolist() == [25.0, 9.0, 25.0]
