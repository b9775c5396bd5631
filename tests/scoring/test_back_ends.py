"""Every back end but kNN against an independent reference in float64, and what all of them have in
common.
"""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import cdist
from scoring.test_knn import by_loop
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage
from sklearn.mixture import GaussianMixture

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import BACK_ENDS, fit_back_end
from asd_jax.scoring.back_ends.fusion import fuse, on_columns
from asd_jax.scoring.back_ends.gmm import gmm
from asd_jax.scoring.back_ends.k_means import k_means
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.local_density import local_density
from asd_jax.scoring.back_ends.mahalanobis import _ledoit_wolf, mahalanobis
from asd_jax.scoring.back_ends.mem_mixup import mem_mixup
from asd_jax.scoring.back_ends.pca_residual import pca_residual
from asd_jax.scoring.back_ends.smote import smote
from asd_jax.scoring.options import DEFAULT, LATER
from asd_jax.scoring.preparation import Preparation

RNG = np.random.default_rng(0)
SOURCE = RNG.normal(size=(60, 8)) * np.linspace(0.5, 2, 8) + 2
TARGET = RNG.normal(size=(7, 8)) - 1
TEST = RNG.normal(size=(15, 8)) + 1
BANK = {"source": SOURCE, "target": TARGET}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


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
    found = smote(bank, distance="euclidean", ratio=0.2).score(TEST)["target"]
    assert np.array_equal(found, knn(bank, distance="euclidean").score(TEST)["target"])


def test_smote_of_two_clips_fills_the_line_between_them():
    bank = {"source": SOURCE, "target": np.array([[0.0] * 8, [1.0] * 8])}
    between = np.linspace(0, 1, 50)[:, None] * np.ones(8)
    assert smote(bank, distance="euclidean", ratio=1.0).score(between)["target"].max() < 0.3
    off = between + np.r_[1.0, np.zeros(7)]  # nothing is added off the line
    assert smote(bank, distance="euclidean", ratio=1.0).score(off)["target"].min() > 0.9


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_mem_mixup_extends_the_target_bank_towards_its_nearest_sources(distance):
    pairs = by_loop(TARGET, SOURCE, distance)
    mixed = [
        0.9 * t + 0.1 * SOURCE[j]
        for t, row in zip(TARGET, pairs, strict=True)
        for j in np.argsort(row)[:5]
    ]
    fitted = mem_mixup(BANK, distance=distance, mixup_k=5)
    expected = by_loop(TEST, np.concatenate([TARGET, mixed]), distance).min(1)
    assert fitted.score(TEST)["target"] == pytest.approx(expected, abs=1e-14)
    own = knn(BANK, distance=distance).self_scores()  # statistics come from real clips only
    assert np.array_equal(fitted.self_scores()["target"]["target"], own["target"]["target"])


@pytest.mark.parametrize("back_end", sorted(BACK_ENDS))
def test_self_scores_leave_groups_out_whole(back_end):
    """Rows of a group are doubles: no score is of a bank that holds one, and no other clip is made
    up beside them.
    """
    double = {
        domain: np.repeat(vectors, 2, axis=0)[:, None].repeat(2, 1)
        for domain, vectors in BANK.items()
    }
    fitted = fit_back_end(
        double, dataclasses.replace(DEFAULT, back_end=back_end), ("clip", "band", "embedding")
    )
    groups = {domain: np.repeat(np.arange(len(vectors)), 2) for domain, vectors in BANK.items()}
    own = fitted.self_scores(groups)["target"]["target"]
    np.testing.assert_allclose(own[::2], own[1::2], rtol=1e-9)
    # seven groups: left out one by one
    if back_end in (
        "knn",
        "smote",
        "mem_mixup",
        "band_matching",
    ):
        plain = knn(BANK).self_scores()["target"]["target"]
        np.testing.assert_allclose(own[::2], plain, rtol=1e-9)
    alone = {domain: np.zeros(len(group)) for domain, group in groups.items()}
    assert np.isnan(
        fitted.self_scores(alone)["source"]["source"]
    ).all()  # nothing is left to compare with


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


@pytest.mark.parametrize("vectors", [SOURCE, TARGET], ids=["more clips than dimensions", "fewer"])
def test_mahalanobis_is_scikit_learns_ledoit_wolf(vectors):
    expected = np.sqrt(LedoitWolf().fit(vectors).mahalanobis(TEST))
    assert mahalanobis({"source": vectors}).score(TEST)["source"] == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("shape", [(40, 8), (5, 8), (30, 1200), (3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_shrinkage_is_scikit_learns(shape, dtype):
    vectors = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = _ledoit_wolf(vectors - vectors.mean(0))
    # Beyond 1000 dimensions the order of the sums differs; measured there: 2e-15 in float64.
    tolerance = 0 if shape[1] <= 1000 else 1e-6 if dtype == np.float32 else 4e-15
    assert found == pytest.approx(ledoit_wolf_shrinkage(vectors), rel=tolerance)


@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 1.0])
def test_mahalanobis_shrinks_as_told(shrinkage):
    s = np.cov(SOURCE.T, bias=True)
    c = (1 - shrinkage) * s + shrinkage * np.trace(s) / 8 * np.eye(8)
    centred = TEST - SOURCE.mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(c), centred))
    assert mahalanobis({"source": SOURCE}, shrinkage=shrinkage).score(TEST)[
        "source"
    ] == pytest.approx(expected)


def test_mahalanobis_of_two_clips_is_the_distance_to_their_mean():
    bank = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    score = mahalanobis({"source": bank}).score(np.array([[1.0, 0, 1], [0, 2, 1], [0, 0, 4]]))[
        "source"
    ]
    assert score == pytest.approx(np.array([1, 2, 3]) / np.sqrt(1 / 3))
    equal = mahalanobis({"source": np.ones((3, 2))}).score(np.array([[1.0, 1], [1, 2]]))["source"]
    assert equal[0] == 0 and np.isfinite(equal).all()


def test_pca_residual_is_what_the_components_leave():
    _, directions = np.linalg.eigh(np.cov(SOURCE.T))
    centred = TEST - SOURCE.mean(0)
    expected = np.linalg.norm(centred @ directions[:, :5], axis=1)  # the five weakest of eight
    assert pca_residual(BANK, components=3).score(TEST)["source"] == pytest.approx(
        expected, abs=1e-12
    )


def test_gmm_is_scikit_learns_likelihood():
    found = gmm(BANK, components=3).score(TEST)
    ordered = SOURCE[np.lexsort(SOURCE.T[::-1])]
    floor = 1e-3 * SOURCE.var(0).mean()
    model = GaussianMixture(
        3, covariance_type="diag", reg_covar=floor, random_state=0, max_iter=500
    ).fit(ordered)
    assert found["source"] == pytest.approx(-model.score_samples(TEST), abs=1e-9)
    # seven clips: one component, in closed form
    variance = TARGET.var(0) + 1e-3 * TARGET.var(0).mean()
    expected = -scipy.stats.norm(TARGET.mean(0), np.sqrt(variance)).logpdf(TEST).sum(1)
    assert found["target"] == pytest.approx(expected, abs=1e-9)


def test_band_matching_lets_each_band_find_its_own_clip():
    scoring = dataclasses.replace(DEFAULT, back_end="band_matching")
    banded = {domain: v.reshape(-1, 4, 2) for domain, v in BANK.items()}
    found = fit_back_end(banded, scoring, ("clip", "band", "embedding")).score(TEST)
    parts = [slice(2 * i, 2 * i + 2) for i in range(4)]
    expected = np.mean([by_loop(TEST[:, p], SOURCE[:, p], "cosine").min(1) for p in parts], axis=0)
    assert found["source"] == pytest.approx(expected, abs=1e-14)
    with pytest.raises(InputError, match="keep their bands"):
        fit_back_end({"source": SOURCE[:, None]}, scoring, ("clip", "embedding"))


FITS = [functools.partial(knn, distance="euclidean"), mahalanobis]


def z_scores(domain, fit):
    fitted = fit(BANK)
    own = fitted.self_scores()[domain][domain]
    return (fitted.score(TEST)[domain] - own.mean()) / own.std()


def of_one_band(test, bank, k, in_log):
    """VarMin of one band in float64, a loop for each of the published equations."""

    def distances(one, other):  # 0.5 (1 - cos), from the differences of unit vectors
        return np.square(unit(one)[:, None] - unit(other)).sum(-1) / 4

    inside = distances(bank, bank)
    np.fill_diagonal(inside, np.inf)
    b = np.sort(inside, axis=1)[:, :k].mean(1)
    u = inside.min(1)
    between = distances(test, bank)
    if in_log:
        b, u, between = np.log(b), np.log(u), np.log(between)
    v = b[inside.argmin(1)]
    alpha = np.cov(u, v)[0, 1] / np.var(v, ddof=1)
    return (between - alpha * b).min(1), u - alpha * v, u


@pytest.mark.parametrize("k, in_log", [(4, False), (1, True)])
@pytest.mark.parametrize("by_band", [True, False])
def test_varmin_is_the_published_equations(k, in_log, by_band):
    options = {"density_k": k, "varmin_log": in_log, "varmin_by_band": by_band}
    scoring = dataclasses.replace(DEFAULT, back_end="varmin", **options)
    banded = {domain: v.reshape(-1, 4, 2) for domain, v in BANK.items()}
    found = fit_back_end(banded, scoring, ("clip", "band", "embedding")).score(TEST)
    parts = [slice(2 * i, 2 * i + 2) for i in range(4)] if by_band else [slice(0, 8)]
    for domain, bank in BANK.items():
        each = [of_one_band(TEST[:, part], bank[:, part], k, in_log) for part in parts]
        expected = np.mean([scores for scores, _, _ in each], axis=0)
        assert found[domain] == pytest.approx(expected, abs=2e-13)  # measured 9e-14
        # what the method is for: its weight leaves the bank's own scores the least variance
        assert all(corrected.var() < own.var() for _, corrected, own in each)


def test_varmin_of_a_bank_without_varying_density_is_the_nearest_distance():
    bank = {"source": np.eye(5) + 0.0}
    found = BACK_ENDS["varmin"](bank, DEFAULT, 1).score(np.full((1, 5), 2.0))["source"]
    assert found == pytest.approx(0.5 * (1 - 1 / np.sqrt(5)), abs=1e-15)
    with pytest.raises(InputError, match="source: varmin needs 3 training clips, found 2; use knn"):
        BACK_ENDS["varmin"]({"source": SOURCE[:2]}, DEFAULT, 1)


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


@pytest.mark.parametrize("fusion, reduce", [("z_min", np.min), ("mean", np.mean)])
def test_fusion_reduces_the_z_scores_of_the_training_bank(fusion, reduce):
    found = fuse(BANK, FITS, fusion=fusion).score(TEST)
    for domain in BANK:
        expected = reduce([z_scores(domain, fit) for fit in FITS], axis=0)
        assert found[domain] == pytest.approx(expected, abs=1e-12)


def test_rank_fusion_averages_ranks_among_the_clips():
    found = fuse(BANK, FITS, fusion="rank").score(TEST)["source"]
    ranks = [scipy.stats.rankdata(fit(BANK).score(TEST)["source"]) / 15 for fit in FITS]
    assert found == pytest.approx(np.mean(ranks, axis=0), abs=1e-15)


def test_layers_are_averaged_by_their_z_scores():
    layered = {domain: v.reshape(-1, 2, 4) for domain, v in BANK.items()}
    found = fit_back_end(layered, DEFAULT, ("clip", "layer", "embedding")).score(TEST)["target"]
    layers = [
        functools.partial(z_scores, "target", on_columns(knn, slice(i, i + 4))) for i in (0, 4)
    ]
    assert found == pytest.approx(np.mean([layer() for layer in layers], axis=0), abs=1e-12)


def fitted(name, bank):
    scoring = dataclasses.replace(DEFAULT, back_end=name, distance="euclidean", components=4)
    banded = {domain: v.reshape(-1, 2, 4) for domain, v in bank.items()}
    return fit_back_end(banded, scoring, ("clip", "band", "embedding"))


@pytest.mark.parametrize("name", [*BACK_ENDS, "knn+gmm"])
def test_no_back_end_minds_the_order_of_the_clips(name):
    """Scores and self-scores move with their clips, to the rounding of sums in another order."""
    order = RNG.permutation(len(SOURCE))
    one, other = fitted(name, BANK), fitted(name, {"source": SOURCE[order], "target": TARGET[::-1]})
    for domain, scores in one.score(TEST).items():
        assert other.score(TEST[::-1])[domain][::-1] == pytest.approx(scores, abs=1e-9)
    assert other.self_scores()["source"]["source"] == pytest.approx(
        one.self_scores()["source"]["source"][order], abs=1e-9
    )


@pytest.mark.parametrize("name", [*BACK_ENDS, "knn+gmm"])
def test_self_scores_are_there_for_every_real_clip_against_every_bank(name):
    found = fitted(name, BANK).self_scores()
    assert {(clips, bank): len(v) for clips, of in found.items() for bank, v in of.items()} == {
        ("source", "source"): 60,
        ("source", "target"): 60,
        ("target", "source"): 7,
        ("target", "target"): 7,
    }
    assert all(np.isfinite(v).all() for of in found.values() for v in of.values())


@pytest.mark.parametrize("name", [*BACK_ENDS])
def test_a_far_off_clip_scores_higher_than_a_near_one(name):
    near, far = fitted(name, BANK).score(np.stack([SOURCE.mean(0), SOURCE.mean(0) + 50]))["source"]
    assert far > near


@pytest.mark.parametrize(
    "fit, bank, said",
    [
        (smote, {"source": SOURCE}, "needs a source and a target"),
        (mem_mixup, {"pooled": SOURCE}, "needs a source and a target"),
        (smote, {"source": SOURCE, "target": TARGET[:1]}, "at least two"),
        (
            mahalanobis,
            {"source": SOURCE, "target": TARGET[:1]},
            "target: .* 2 training clips, found 1",
        ),
        (functools.partial(mahalanobis, shrinkage=2.0), BANK, "shrinkage"),
        (functools.partial(fuse, fits=FITS, fusion="best"), BANK, "fusion"),
        (functools.partial(smote, ratio=1.5), BANK, "ratio"),
        (functools.partial(mem_mixup, weight=3.0), BANK, "weight"),
    ],
)
def test_what_a_back_end_cannot_do_is_said(fit, bank, said):
    with pytest.raises(InputError, match=said):
        fit(bank)


def test_an_unknown_back_end_lists_the_known_ones():
    with pytest.raises(InputError, match="'knm'.*knn, smote"):
        fit_back_end(
            {"source": SOURCE[:, None]},
            dataclasses.replace(DEFAULT, back_end="knn+knm"),
            ("clip", "e"),
        )


def test_options_that_came_later_are_recorded_only_where_they_are_set():
    assert not set(LATER) & set(DEFAULT.recorded())
    changed = dataclasses.replace(DEFAULT, deviation="target")
    assert changed.recorded() == {**DEFAULT.recorded(), "deviation": "target"}
