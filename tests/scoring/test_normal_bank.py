import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_bank import NormalBank, coreset, folds, fused
from asd_jax.scoring.options import Scoring

KNN = Scoring(distance="euclidean", normalization="train")
POOLED = np.full(40, "pooled")


def vectors(n=40, seed=0, width=6):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def fit(found, domain=POOLED, group=None, **options):
    group = np.arange(len(domain)) if group is None else group
    return NormalBank.fit({view: KNN for view in found}, found, domain, group, **options)


def test_self_scores_are_the_distances_to_the_other_folds():
    x = vectors()
    raw = fit({"a": x}).raw["a/knn"][:, 0]
    fold = np.arange(40) % 10
    distance = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    np.testing.assert_allclose(
        raw, [distance[n, fold != fold[n]].min() for n in range(40)], rtol=1e-12
    )


def test_windows_of_one_recording_do_not_vouch_for_each_other():
    x = vectors(20)
    twice = np.concatenate([x, x])
    recording = np.tile(np.arange(20), 2)
    assert fit({"a": twice}, group=recording).raw["a/knn"].min() > 0.1
    other_fold = np.concatenate([np.arange(20), 20 + np.roll(np.arange(20), 1)])
    assert fit({"a": twice}, group=other_fold).raw["a/knn"].max() == 0


def test_the_score_is_the_view_that_finds_it_oddest():
    x = {"a": vectors(), "b": vectors(seed=1)}
    bank = fit(x)
    test = {
        "a": vectors(5, 2),
        "b": vectors(5, 3) + np.array([[0], [0], [9], [0], [9]], np.float32),
    }
    by_view = bank.score(test)
    np.testing.assert_array_equal(fused(by_view), np.maximum(by_view["a/knn"], by_view["b/knn"]))
    assert (by_view["b/knn"][[2, 4]] > 5).all() and (by_view["b/knn"][[0, 1, 3]] < 5).all()
    # raw distances, not z-scores
    assert abs(np.concatenate([v[:, 0] for v in bank.raw.values()]).mean()) > 0.5
    assert bank.normal.mean() > 0  # the maximum of two standardised scores


def test_bands_are_compared_apart_where_vectors_have_them():
    x, cosine = (
        vectors(width=12).reshape(40, 3, 4),
        Scoring(distance="cosine", normalization="train"),
    )
    raw = NormalBank.fit({"a": cosine}, {"a": x}, POOLED, np.arange(40)).raw["a/knn"][:, 0]
    unit = x / np.linalg.norm(x.astype(np.float64), axis=2, keepdims=True)
    fold, distance = np.arange(40) % 10, 1 - np.einsum("nbd,mbd->nm", unit, unit) / 3
    np.testing.assert_allclose(
        raw, [distance[n, fold != fold[n]].min() for n in range(40)], rtol=1e-6
    )


def test_several_back_ends_judge_one_view_apart():
    two = Scoring(back_end="knn+mahalanobis", distance="euclidean")
    bank = NormalBank.fit({"a": two}, {"a": vectors()}, POOLED, np.arange(40))
    assert list(bank.score({"a": vectors(3)})) == ["a/knn", "a/mahalanobis"]
    np.testing.assert_array_equal(bank.raw["a/knn"], fit({"a": vectors()}).raw["a/knn"])


def test_known_self_scores_are_kept_and_uncounted_ones_left_out():
    known = {"a/knn": np.full((40, 1), np.nan)}
    known["a/knn"][:10] = 7
    counted = np.arange(40) != 39
    bank = fit({"a": vectors()}, known=known, counted=counted)
    assert (
        (bank.raw["a/knn"][:10] == 7).all()
        and np.isnan(bank.raw["a/knn"][39])
        and len(bank.normal) == 39
    )


def test_two_domains_are_normalised_apart():
    domain = np.repeat(["source", "target"], [30, 10])
    x = vectors() * np.where(domain == "source", 1, 10)[:, None].astype(np.float32)
    bank = fit({"a": x}, domain)
    assert bank.domains == ["source", "target"] and bank.raw["a/knn"].shape == (40, 2)
    assert sorted(np.bincount(folds(domain, np.arange(40)))) == [4] * 10
    assert np.abs(bank.normal[30:]).mean() < 2  # ten times as far apart, and yet normal


def test_coreset_covers_clusters_of_any_size():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    x = np.repeat(centres, [100, 3, 2], axis=0) + rng.normal(size=(105, 2)).astype(np.float32)
    kept = coreset(x, 3)
    assert len(kept) == 3 and len(set(np.abs(x[kept, None] - centres).sum(2).argmin(1))) == 3
    assert len(coreset(x, 1000)) == 105


def test_two_sounds_are_too_few():
    with pytest.raises(InputError, match="at least 3"):
        fit({"a": vectors(2)}, POOLED[:2])
