import numpy as np
import pytest
import scipy.stats
from scoring.banks import BANK, FITS, TEST, z_scores

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fuse, fused


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
    scores = {"a": np.array([2.0, 3.0, -1.0]), "b": np.array([2.0, 1.0, -4.0])}
    # equal ones stay, the cubic mean of 3 and 1 is 14^(1/3), and below zero the highest counts
    assert fused(scores) == pytest.approx([2, 14 ** (1 / 3), -1], abs=1e-15)


def test_what_cannot_be_fused_is_said():
    with pytest.raises(InputError, match="^fusion 'best': must be one of z_min, mean, rank, raw_"):
        fuse(BANK, FITS, fusion="best")
    with pytest.raises(InputError, match="^fusion: no back ends to fuse$"):
        fuse(BANK, [])
