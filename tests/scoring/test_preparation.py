import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scoring.banks import BANK, SOURCE, TEST, unit
from scoring.machines import machine, split

from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.options import DEFAULT, Scoring
from asd_jax.scoring.preparation import Preparation


def test_euclidean_distances_of_unit_vectors_are_those_of_the_other_toolkits():
    scoring = dataclasses.replace(
        DEFAULT, distance="unit_euclidean", back_end="local_density", k=3, density_k=4
    )
    prepare = Preparation.fit(BANK, scoring, ("clip", "embedding"))
    bank = {domain: prepare(v) for domain, v in BANK.items()}
    test = prepare(TEST)[:, 0]
    found = fit_back_end(bank, scoring, ("clip", "embedding")).score(test)
    for domain, vectors in BANK.items():
        # ASDKit's KnnRescale: distances over those inside the bank, the three smallest averaged
        inside = np.sort(cdist(unit(vectors), unit(vectors)), axis=1)[:, 1:5].mean(1)
        ratios = np.sort(cdist(unit(TEST), unit(vectors)) / inside, axis=1)[:, :3]
        assert found[domain] == pytest.approx(ratios.mean(1), abs=1e-12)
    nearest_two = dataclasses.replace(scoring, back_end="knn", k=2)
    found = fit_back_end(bank, nearest_two, ("clip", "embedding")).score(test)
    expected = np.sort(cdist(unit(TEST), unit(SOURCE)), axis=1)[:, :2].mean(1)
    assert found["source"] == pytest.approx(expected, abs=1e-12)


def test_whitened_source_clips_have_unit_covariance_in_every_band():
    from asd_jax.scoring.preparation import Preparation

    embeddings = machine(shape=(3, 6))
    training = {
        "source": split(embeddings, "train", "source"),
        "target": split(embeddings, "train", "target"),
    }
    prepare = Preparation.fit(training, Scoring(distance="euclidean", whiten=4), embeddings.axes)
    whitened = prepare(training["source"])
    assert whitened.shape == (40, 3, 4)
    for band in range(3):
        assert np.cov(whitened[:, band].T) == pytest.approx(np.eye(4), abs=1e-12)
