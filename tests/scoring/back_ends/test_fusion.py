import numpy as np
import pytest
import scipy.stats
from scoring.banks import BANK, FITS, TEST, z_scores

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Fitted
from asd_jax.scoring.back_ends.fusion import _rank, fuse, fused
from asd_jax.scoring.back_ends.knn import knn


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


def test_a_rank_is_among_the_clips_that_have_a_score():
    alone = fuse(BANK, FITS, fusion="rank").score(TEST[:1])
    assert {domain: rank.tolist() for domain, rank in alone.items()} == {
        "source": [1],
        "target": [1],
    }
    assert _rank(np.array([5.0, np.nan, 3.0, 3.0])) == pytest.approx(
        [1, np.nan, 0.5, 0.5], nan_ok=True
    )
    assert np.isnan(_rank(np.array([np.nan]))).all()


def test_without_a_choice_the_least_z_score_counts():
    assert np.array_equal(
        fuse(BANK, FITS).score(TEST)["target"],
        fuse(BANK, FITS, fusion="z_min").score(TEST)["target"],
    )


def test_self_scores_of_the_members_are_computed_once():
    asked = []

    def fit(bank):
        of = knn(bank)
        return Fitted(of.score, lambda groups=None: asked.append(groups) or of.self_scores(groups))

    one = fuse(BANK, [fit, fit], fusion="mean")
    for _ in range(3):
        one.score(TEST)
        one.self_scores()
    assert asked == [None, None]


def test_clips_that_are_left_out_together_are_those_asked_for_each_time():
    fused_fits = fuse(BANK, FITS, fusion="raw_mean")
    pairs = {domain: np.arange(len(vectors)) // 2 for domain, vectors in BANK.items()}
    for groups in (None, pairs, None):
        found = fused_fits.self_scores(groups) if groups else fused_fits.self_scores()
        own = [fit(BANK).self_scores(groups) for fit in FITS]
        for domain in BANK:
            expected = np.mean([of[domain][domain] for of in own], axis=0)
            np.testing.assert_array_equal(found[domain][domain], expected)


def test_agreeing_scores_are_fused_above_their_mean_and_below_their_maximum():
    scores = {"a": np.array([2.0, 3.0, -1.0, 0.1]), "b": np.array([2.0, 1.0, -4.0, -9.0])}
    # equal ones stay, the cubic mean of 3 and 1 is 14^(1/3), below zero the highest counts, and a
    # low score counts as 0
    expected = [2, 14 ** (1 / 3), -1, 0.1 / 2 ** (1 / 3)]
    assert fused(scores) == pytest.approx(expected, abs=1e-15)


def test_what_cannot_be_fused_is_said():
    with pytest.raises(InputError, match="^fusion 'best': must be one of z_min, mean, rank, raw_"):
        fuse(BANK, FITS, fusion="best")
    with pytest.raises(InputError, match="^fusion: no back ends to fuse$"):
        fuse(BANK, [])
