import re

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST, by_loop

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.mem_mixup import mem_mixup


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_mem_mixup_extends_the_target_bank_towards_its_nearest_sources(distance):
    pairs = by_loop(TARGET, SOURCE, distance)
    mixed = [
        0.9 * t + 0.1 * SOURCE[j]
        for t, row in zip(TARGET, pairs, strict=True)
        for j in np.argsort(row)[:5]
    ]
    every = by_loop(TEST, np.concatenate([TARGET, mixed]), distance)
    for k in (1, 3):
        fitted = mem_mixup(BANK, distance=distance, mixup_k=5, k=k)
        expected = np.sort(every, axis=1)[:, :k].mean(1)
        assert fitted.score(TEST)["target"] == pytest.approx(expected, abs=1e-14)
        plain = knn(BANK, distance=distance, k=k)
        assert np.array_equal(fitted.score(TEST)["source"], plain.score(TEST)["source"])
        # Statistics come from real clips only.
        own = plain.self_scores()["target"]["target"]
        assert np.array_equal(fitted.self_scores()["target"]["target"], own)


def test_the_weight_may_be_that_of_either_clip_alone():
    target = mem_mixup(BANK, weight=1.0).score(TEST)["target"]
    assert target == pytest.approx(knn(BANK).score(TEST)["target"], abs=1e-14)
    both = knn({"target": np.concatenate([TARGET, SOURCE])}).score(TEST)["target"]
    assert mem_mixup(BANK, weight=0.0).score(TEST)["target"] == pytest.approx(both, abs=1e-14)


@pytest.mark.parametrize(
    "options, bank, said",
    [
        (
            {},
            {"pooled": SOURCE},
            "mem_mixup: needs a source and a target bank, found pooled; use knn",
        ),
        ({"weight": 3.0}, BANK, "mem_mixup weight 3.0: must lie in [0, 1]"),
    ],
)
def test_what_mem_mixup_cannot_do_is_said(options, bank, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        mem_mixup(bank, **options)
