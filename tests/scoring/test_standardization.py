"""Scores of several scorers and domains on one scale."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from asd_jax.scoring.normal_windows import NormalWindows, SelfScores
from asd_jax.scoring.standardization import (
    SIMULATION_MARGIN,
    Standardization,
    scale_of,
    statistics_of,
)


def windows_of(source, target):
    windows = NormalWindows.of_recordings(np.arange(source + target))
    domain = np.repeat(["source", "target"], [source, target])
    return dataclasses.replace(windows, domain=domain)


def test_a_sound_is_scored_against_the_bank_in_which_it_is_least_anomalous():
    """Both scorers by the same bank, even where one of them alone would choose the other."""
    statistics = {
        "a": {"source": (1.0, 2.0), "target": (0.0, 1.0)},
        "b": {"source": (0.0, 1.0), "target": (2.0, 0.5)},
    }
    table = Standardization(["source", "target"], statistics, {"source": 1.0, "target": 2.0})
    scores = {"a": np.array([[5.0, 9.0], [9.0, 2.0]]), "b": np.array([[1.0, 2.5], [8.0, 2.5]])}
    found = table(scores)
    assert found["a"].tolist() == [2.0, 1.0] and found["b"].tolist() == [1.0, 0.5]


def test_the_usual_score_is_the_median_of_the_banks_own_sounds():
    """The deviation is 1.4826 median absolute deviations, widened by Student's t for few."""
    scores = np.array([[1.0, 50], [2, 50], [3, 50], [4, 50], [50, 90], [50, 94], [50, 98]])
    apart = {name: SelfScores(np.ones(7, bool), {"a": scores}) for name in ("source", "target")}
    found = statistics_of("a", windows_of(4, 3), apart)
    mad = 1 / scipy.stats.norm.ppf(0.75)
    for name, usual, spread, n in (("source", 2.5, 1.0, 4), ("target", 94.0, 4.0, 3)):
        assert found[name][0] == usual
        widened = [found[name][1] / (mad * spread * np.sqrt(1 + 1 / n))]
        assert 1 < widened[0] < 3  # the quantile of t over that of the normal distribution
    # banks of the same scores lend each other their relative deviation, 0.4 and 0.043
    of = apart["source"]
    lent = statistics_of("a", windows_of(4, 3), {"source": of, "target": of})
    assert lent["target"][1] > 2 * found["target"][1] and lent["source"][1] < found["source"][1]


def test_one_threshold_fits_both_banks():
    """The bank whose normal sounds score higher in new sessions is divided by as much."""
    windows = dataclasses.replace(windows_of(40, 40), session=np.arange(80) // 2)
    normal = np.linspace(0, 2, 40)
    standardized = {"source": normal, "target": 3 * normal}
    sessions = {"source": True, "target": True}
    assert scale_of(windows, standardized, sessions) == pytest.approx({"source": 1, "target": 3})
    none = {"source": False, "target": False}
    assert scale_of(windows, standardized, none) == {"source": 1.0, "target": 1.0}
    one = scale_of(windows, {"source": normal, "target": normal}, {"source": True, "target": False})
    assert one["source"] == 1 and 1 < one["target"] <= SIMULATION_MARGIN
