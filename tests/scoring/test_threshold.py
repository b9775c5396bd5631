import numpy as np
import pytest
import scipy.stats

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.threshold import threshold

RNG = np.random.default_rng(0)


def test_the_gamma_threshold_is_the_baselines():
    scores = RNG.gamma(3, 2, 2000)
    expected = scipy.stats.gamma.ppf(0.9, *scipy.stats.gamma.fit(scores))
    # two numerical fits of one likelihood
    assert threshold(scores) == pytest.approx(expected, rel=1e-3)
    # sampling error
    assert threshold(scores) == pytest.approx(scipy.stats.gamma(3, scale=2).ppf(0.9), rel=0.03)


@pytest.mark.parametrize(
    ("draw", "least", "most"),
    [
        (lambda rng: rng.normal(5, 1, 1000), 0.08, 0.12),
        (lambda rng: rng.lognormal(size=1000), 0.08, 0.12),
        (lambda rng: rng.exponential(size=1000), 0.08, 0.12),
        (lambda rng: rng.normal(-0.5, 0.1, 100), 0.05, 0.15),
        (
            lambda rng: np.r_[rng.normal(5, 1, 999), 50.0],
            0.03,
            0.12,
        ),  # the outlier stretches the fitted tail
        (
            lambda rng: np.r_[np.zeros(300), rng.gamma(9, 1, 700)],
            0.0,
            0.2,
        ),  # doubles: no gamma distribution at all
    ],
    ids=["normal", "log-normal", "exponential", "negative", "outlier", "doubles"],
)
def test_the_share_of_normal_scores_above_the_gamma_threshold_is_about_what_was_asked_for(
    draw, least, most
):
    for seed in range(4):
        scores = draw(np.random.default_rng(seed))
        assert least <= np.mean(scores > threshold(scores)) <= most


@pytest.mark.parametrize("decision", ["gamma", "quantile", "extreme_value"])
def test_thresholds_move_with_scale_and_offset_of_the_scores(decision):
    scores = RNG.gamma(3, 2, 300)
    one = threshold(scores, decision=decision, quantile=0.95)
    assert threshold(5 * scores - 100, decision=decision, quantile=0.95) == pytest.approx(
        5 * one - 100, abs=1e-4
    )


def test_the_quantile_threshold_is_the_quantile():
    scores = RNG.normal(size=101)
    assert threshold(scores, decision="quantile", quantile=0.9) == np.sort(scores)[90]


def test_the_extreme_value_tail_reaches_beyond_the_highest_score():
    """Exponential scores have a generalised Pareto tail: 500 of them tell the 99.9 % quantile, ln
    1000, within 25 %.
    """
    found = [
        threshold(RNG.exponential(size=500), decision="extreme_value", quantile=0.999)
        for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx(np.log(1000), rel=0.25)
    # Two in the tail: the plain quantile, as for a quantile inside the body of the scores.
    for scores, quantile in ((np.arange(10.0), 0.999), (RNG.exponential(size=500), 0.75)):
        found = threshold(scores, decision="extreme_value", quantile=quantile)
        assert found == np.quantile(scores, quantile)


@pytest.mark.parametrize("count", [15, 500])
def test_the_extreme_value_tail_is_scipys_above_the_80_percent_quantile(count):
    """Three scores are enough for a tail."""
    scores = np.random.default_rng(3).exponential(size=count)
    start = np.quantile(scores, 0.8)
    excess = scores[scores > start] - start
    assert len(excess) == count / 5
    shape, _, scale = scipy.stats.genpareto.fit(excess, floc=0)
    # One in a hundred of all scores is one in twenty of the highest fifth.
    expected = start + scipy.stats.genpareto.ppf(0.95, shape, 0, scale)
    found = threshold(scores, decision="extreme_value", quantile=0.99)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_gamma_threshold_at_the_90_percent_quantile_is_the_default():
    scores = RNG.gamma(3, 2, 50)
    assert threshold(scores) == threshold(scores, decision="gamma", quantile=0.9)
    assert np.isfinite(threshold([1.0, 2.0, 4.0]))


def test_scores_without_neighbour_are_left_out():
    scores = RNG.gamma(3, 2, 50)
    assert threshold(np.r_[scores, np.nan]) == threshold(scores)


@pytest.mark.parametrize(
    "scores, options, said",
    [
        ([1.0, 2.0, 2.0], {}, "at least 3 different"),
        ([1.0, 2.0, 3.0], {"decision": "guess"}, "gamma"),
        ([1.0, 2.0, 3.0], {"quantile": 90.0}, "between 0 and 1"),
        ([1.0, 2.0, 3.0], {"quantile": 1.0}, "between 0 and 1"),
        ([1.0, 2.0, 3.0], {"quantile": 0.0}, "between 0 and 1"),
    ],
)
def test_what_no_threshold_can_be_learned_from_is_named(scores, options, said):
    with pytest.raises(InputError, match=said):
        threshold(scores, **options)
