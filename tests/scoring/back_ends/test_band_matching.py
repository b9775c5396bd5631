import dataclasses

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST, by_loop

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.options import DEFAULT


def test_band_matching_lets_each_band_find_its_own_clip():
    scoring = dataclasses.replace(DEFAULT, back_end="band_matching")
    banded = {domain: v.reshape(-1, 4, 2) for domain, v in BANK.items()}
    parts = [slice(2 * i, 2 * i + 2) for i in range(4)]
    for distance, k in (("cosine", 1), ("euclidean", 3)):
        options = dataclasses.replace(scoring, distance=distance, k=k)
        found = fit_back_end(banded, options, ("clip", "band", "embedding")).score(TEST)
        near = [np.sort(by_loop(TEST[:, p], SOURCE[:, p], distance))[:, :k] for p in parts]
        expected = np.mean([band.mean(1) for band in near], axis=0)
        assert found["source"] == pytest.approx(expected, abs=1e-14)
    two = {"source": SOURCE.reshape(-1, 2, 4)}
    assert fit_back_end(two, scoring, ("clip", "band", "embedding")).score(TEST)["source"].all()
    with pytest.raises(InputError, match="keep their bands"):
        fit_back_end({"source": SOURCE[:, None]}, scoring, ("clip", "embedding"))
