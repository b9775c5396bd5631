import re

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from scoring.banks import BANK, SOURCE, TARGET, TEST, by_loop, unit

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.smote import smote


def test_smote_grows_the_target_bank_between_its_own_clips():
    fitted = smote(BANK, distance="euclidean", ratio=0.5, smote_k=2)
    plain = knn(BANK, distance="euclidean")
    assert np.array_equal(fitted.score(TEST)["source"], plain.score(TEST)["source"])
    closer = plain.score(TEST)["target"] - fitted.score(TEST)["target"]
    # the real clips are still there, and some between
    assert np.all(closer >= -1e-12) and np.any(closer > 0.01)
    assert np.array_equal(
        fitted.self_scores()["target"]["target"], plain.self_scores()["target"]["target"]
    )


@pytest.mark.parametrize(("clips", "targets"), [(12, 2), (24, 4), (48, 9), (10, 2), (11, 2)])
def test_smote_of_a_bank_that_lacks_no_whole_clip_is_plain(clips, targets):
    rng = np.random.default_rng(0)
    bank = {"source": rng.normal(size=(clips, 8)), "target": rng.normal(size=(targets, 8))}
    found = smote(bank, distance="euclidean", k=2, ratio=0.2).score(TEST)["target"]
    assert np.array_equal(found, knn(bank, distance="euclidean", k=2).score(TEST)["target"])


def test_smote_adds_a_single_clip_where_one_is_lacking():
    bank = {"source": SOURCE[:15], "target": np.array([[0.0] * 8, [1.0] * 8])}
    test = np.full((1, 8), 0.5)
    plain = knn(bank, distance="euclidean").score(test)["target"]
    assert smote(bank, distance="euclidean", ratio=0.2).score(test)["target"] < plain


def test_smote_of_two_clips_fills_the_line_between_them():
    bank = {"source": SOURCE, "target": np.array([[0.0] * 8, [1.0] * 8])}
    between = np.linspace(0, 1, 50)[:, None] * np.ones(8)
    assert smote(bank, distance="euclidean", ratio=1.0).score(between)["target"].max() < 0.3
    off = between + np.r_[1.0, np.zeros(7)]  # nothing is added off the line
    assert smote(bank, distance="euclidean", ratio=1.0).score(off)["target"].min() > 0.9


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("ratio", "smote_k", "neighbours"), [(0.5, 3, 3), (1.0, 1000, 6)])
def test_smote_is_that_of_imbalanced_learn(distance, ratio, smote_k, neighbours):
    source, target = (v[np.lexsort(v.T[::-1])] for v in (SOURCE, TARGET))
    if distance == "cosine":
        source, target = unit(source), unit(target)
    label = np.repeat([0, 1], [len(source), len(target)])
    sampler = SMOTE(sampling_strategy=ratio, k_neighbors=neighbours, random_state=5)
    every, of = sampler.fit_resample(np.concatenate([source, target]), label)
    assert np.sum(of == 1) == ratio * len(source)
    expected = np.sort(by_loop(TEST, every[of == 1], distance), axis=1)[:, :2].mean(1)
    fitted = smote(BANK, distance=distance, k=2, ratio=ratio, smote_k=smote_k, seed=5)
    assert fitted.score(TEST)["target"] == pytest.approx(expected, abs=1e-12)
    plain = knn(BANK, distance=distance, k=2)
    assert np.array_equal(fitted.score(TEST)["source"], plain.score(TEST)["source"])
    own = plain.self_scores()["target"]["target"]
    assert np.array_equal(fitted.self_scores()["target"]["target"], own)


@pytest.mark.parametrize(
    "options, bank, said",
    [
        ({}, {"source": SOURCE}, "smote: needs a source and a target bank, found source; use knn"),
        (
            {},
            {"source": SOURCE, "target": TARGET[:1]},
            "smote: needs at least two target training clips to interpolate between",
        ),
        ({"ratio": 1.5}, BANK, "smote ratio 1.5: must lie in (0, 1]"),
    ],
)
def test_what_smote_cannot_do_is_said(options, bank, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        smote(bank, **options)
