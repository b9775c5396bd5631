"""Claims about the statistics of a short series of daily values."""

import numpy as np
import pytest

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
