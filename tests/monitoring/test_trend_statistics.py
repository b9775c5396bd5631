"""Claims about the statistics of a short series of daily values."""

import numpy as np
import pytest
from scipy.stats import rankdata

from asd_jax.monitoring.trend_statistics import (
    shape_of,
    significance,
    slope_of,
    variance_inflation,
)

DAYS = np.arange(30.0)


@pytest.mark.parametrize(
    ("values", "shape", "first"),
    [
        (0.1 * DAYS, "line", 0),
        (1.0 * (DAYS >= 12), "step", 12),
        # A bend begins with the last day of before.
        (0.1 * np.maximum(DAYS - 17, 0), "bend", 18),
    ],
    ids=["line", "step", "bend"],
)
def test_each_shape_is_found_with_its_date(values, shape, first):
    noise = np.random.default_rng(0).normal(0, 1e-3, len(DAYS))
    found = shape_of(DAYS, values + noise)
    assert found[:2] == (shape, first) and np.abs(found[2]).max() < 0.01


def test_chance_is_significant_as_often_as_was_said():
    rng = np.random.default_rng(0)
    found = [significance(DAYS, rng.normal(size=30), 1.0, 0.1) for _ in range(400)]
    share = np.mean([direction != 0 for _, direction in found])
    assert share == pytest.approx(0.1, abs=0.03)  # two standard errors, measured 0.0875
    assert all((direction != 0) == (p_value <= 0.1) for p_value, direction in found)


def test_a_rise_a_fall_and_a_constant_have_their_direction():
    assert significance(DAYS, 0.1 * DAYS, 1.0, 0.05)[1] == 1
    assert significance(DAYS, -0.1 * DAYS, 1.0, 0.05)[1] == -1
    assert significance(DAYS, np.ones(30), 1.0, 0.05) == (1.0, 0)
    # Correlated days say less: the same rise in noise is not significant any more.
    values = 0.05 * DAYS + np.random.default_rng(0).normal(size=30)
    sure, unsure = (significance(DAYS, values, wider, 0.05)[0] for wider in (1.0, 3.0))
    assert sure < 0.05 < unsure


def test_the_interval_of_a_slope_is_wider_by_the_factor_and_holds_the_slope():
    values = 0.2 * DAYS + np.random.default_rng(0).normal(size=30)
    slope, (low, high) = slope_of(DAYS, values, 1.0)
    assert low < 0.2 < high and low < slope < high
    again, (lower, higher) = slope_of(DAYS, values, 2.0)
    assert again == slope
    assert (slope - lower, higher - slope) == pytest.approx((2 * (slope - low), 2 * (high - slope)))


def test_correlated_days_count_less():
    rng = np.random.default_rng(0)
    walk = np.zeros(5000)
    for n in range(1, len(walk)):
        walk[n] = 0.5 * walk[n - 1] + rng.normal()
    assert variance_inflation(walk) == pytest.approx(3, rel=0.1)  # (1 + .5) / (1 - .5)
    assert variance_inflation(rng.normal(size=5000)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("values", "shape", "first"),
    [
        (1.0 * (DAYS >= 2), "step", 2),
        (1.0 * (DAYS >= 27), "step", 27),
        (0.1 * np.maximum(DAYS - 24, 0), "bend", 25),
    ],
    ids=["first step", "last step", "last bend"],
)
def test_a_step_has_two_days_before_and_three_after_and_a_bend_five(values, shape, first):
    assert shape_of(DAYS, values)[:2] == (shape, first)


def test_a_change_of_the_last_days_is_no_step_and_no_bend_yet():
    assert shape_of(DAYS, 1.0 * (DAYS >= 28))[:2] != ("step", 28)
    assert shape_of(DAYS, 0.1 * np.maximum(DAYS - 25, 0))[:2] != ("bend", 26)


def test_a_constant_residual_says_nothing_and_the_factor_is_that_of_few_days():
    assert variance_inflation(np.zeros(9)) == 1.0
    # Neighbours that differ by chance in either direction make no day count more than once.
    assert variance_inflation(np.array([1.0, -1.0] * 5)) == 1.0
    residual = np.array([1.0] * 4 + [-1.0] * 4)
    # The correlation 5/8, corrected by Kendall's 1 / n for 4 of 8 days, and shrunk by 30 days.
    r = (8 * 5 / 8 + 1) / (8 - 4) * 8 / (8 + 30)
    assert variance_inflation(residual) == pytest.approx((1 + r) / (1 - r))
    assert variance_inflation(1e-3 * residual) == pytest.approx((1 + r) / (1 - r))
    # It is at most that of r = 0.9.
    assert variance_inflation(np.ones(1000)) == pytest.approx(19)


def test_the_p_value_is_a_share_of_ten_thousand_permutations_and_of_this_order():
    p_value, direction = significance(DAYS, DAYS / 29, 1.0, 0.05)
    assert (p_value, direction) == (1 / 10_001, 1)


def test_a_p_value_at_the_limit_is_significant():
    values = np.random.default_rng(3).normal(size=30) + 0.03 * DAYS
    p_value, _ = significance(DAYS, values, 1.0, 0.05)
    assert significance(DAYS, values, 1.0, p_value)[1] == 1
    assert significance(DAYS, values, 1.0, np.nextafter(p_value, 0))[1] == 0


def test_the_p_value_is_that_of_the_best_shape_among_permuted_ranks():
    steps = [1.0 * (DAYS >= first) for first in range(2, 28)]
    bends = [np.maximum(DAYS - first, 0) for first in range(1, 25)]
    shapes = np.stack([(s - s.mean()) / s.std() for s in (DAYS, *steps, *bends)])

    def statistic(values):
        ranks = (rankdata(values, axis=-1) - 15.5) / np.std(DAYS)
        return np.arctanh(np.abs(ranks @ shapes.T / 30).max(-1))

    values = np.random.default_rng(3).normal(size=30) + 0.03 * DAYS
    permuted = np.random.default_rng(1).permuted(np.tile(values, (4000, 1)), axis=1)
    expected = np.mean(statistic(permuted) >= statistic(values) / 1.5)
    p_value, direction = significance(DAYS, values, 1.5, 0.2)
    # Two standard errors of 4,000 and of 10,000 permutations; measured 0.009
    assert p_value == pytest.approx(expected, abs=0.012) and 0.1 < expected < 0.15
    assert direction == 1 and significance(DAYS, -values, 1.5, 0.2) == (p_value, -1)
    # Ranks alone count, so that a higher outlier changes nothing.
    values[values.argmax()] = 1e6
    assert significance(DAYS, values, 1.5, 0.2) == (p_value, 1)


@pytest.mark.parametrize(("step", "shape"), [(0.39, "line"), (0.412, "step")])
def test_a_date_that_is_searched_for_must_be_worth_two_more_parameters(step, shape):
    """The criterion of 30 days prefers a step by 2 ln 30 = 6.8: here it is better by 5.1 or 8.6."""
    values = step * (DAYS >= 15) + (1 - step) * DAYS / 30 + 0.1 * np.cos(2.4 * DAYS)
    assert shape_of(DAYS, values)[0] == shape
