"""Scores of several scorers and domains on one scale."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from asd_jax.scoring.new_session import median_and_deviation, widening_for_few
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores
from asd_jax.scoring.standardization import (
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
    # Banks of the same scores lend each other their relative deviation, with the weight of five
    # recordings: 0.4 of the usual score and 4 / 94.
    of = apart["source"]
    lent = statistics_of("a", windows_of(4, 3), {"source": of, "target": of})
    square = {"source": (1 / 2.5) ** 2, "target": (4 / 94) ** 2}
    both = (4 * square["source"] + 3 * square["target"]) / 7
    for name, usual, n in (("source", 2.5, 4), ("target", 94.0, 3)):
        relative = np.sqrt((n * square[name] + 5 * both) / (n + 5))
        expected = mad * relative * usual * widening_for_few(n)
        assert lent[name] == (usual, pytest.approx(expected, rel=2e-5))
    assert set(apart["target"].of) == {True}


def test_recordings_count_for_the_deviation_and_only_windows_that_have_scores():
    windows = dataclasses.replace(
        NormalWindows.of_recordings(np.arange(12) // 2), domain=np.full(12, "pooled")
    )
    of = np.arange(12) % 5 > 0  # nine windows of six recordings
    scores = np.arange(9.0)[:, None] + 1
    found = statistics_of("a", windows, {"pooled": SelfScores(of, {"a": scores})})
    usual, deviation = median_and_deviation(scores[:, 0])
    assert found == {"pooled": (usual, deviation * widening_for_few(6))}


def test_a_usual_score_of_zero_has_no_relative_deviation_to_lend():
    scores = np.array([[-1.0, 0], [0, 0], [1, 0], [0, 10], [0, 20], [0, 30]])
    of = SelfScores(np.ones(6, bool), {"a": scores})
    found = statistics_of("a", windows_of(3, 3), {"source": of, "target": of})
    for name, deviation in (("source", 1.4826), ("target", 14.826)):
        assert found[name][1] == pytest.approx(deviation * widening_for_few(3))


def test_one_threshold_fits_both_banks():
    """The bank whose normal sounds score higher in new sessions is divided by as much."""
    windows = dataclasses.replace(windows_of(40, 40), session=np.arange(80) // 2)
    normal = np.linspace(0, 2, 40)
    standardized = {"source": normal, "target": 3 * normal}
    sessions = {"source": True, "target": True}
    assert scale_of(windows, standardized, sessions) == pytest.approx({"source": 1, "target": 3})
    none = {"source": False, "target": False}
    assert scale_of(windows, standardized, none) == {"source": 1.0, "target": 1.0}
    # Simulated sessions show less than recorded ones, so their limit gets a margin.
    half = {"source": True, "target": False}
    one = scale_of(windows, {"source": normal, "target": normal}, half)
    assert one == pytest.approx({"source": 1, "target": 1.25})
    assert scale_of(windows, {"source": 9 * normal}, {"source": True}) == {"source": 1.0}


def test_sessions_weigh_alike_in_a_scale_and_recordings_where_sessions_are_simulated():
    """The two highest scores of each domain are its second session, the windows in turn."""
    domain = np.tile(["source", "target"], 40)
    session = np.repeat([0, 1], [76, 4])
    windows = dataclasses.replace(
        NormalWindows.of_recordings(np.arange(80)), domain=domain, session=session
    )
    score = np.r_[np.linspace(1, 2, 38), 10, 20.0]
    of = {"source": score, "target": score}
    found = scale_of(windows, of, {"source": True, "target": False})
    # 95 %: the last of 40 if both sessions weigh the same, the 39th if all recordings do.
    assert found == pytest.approx({"source": 20 / 12.5, "target": 1})


def test_a_limit_of_few_sessions_is_students_and_none_lies_below_one_deviation():
    windows = dataclasses.replace(windows_of(6, 4), session=np.arange(10))
    of = {"source": np.array([-1.0, 0, 1, 2, 3, 4]), "target": np.full(4, -9.0)}
    std = np.std(of["source"], ddof=1)
    limit = scipy.stats.t(5, 1.5, std * np.sqrt(1 + 1 / 6)).ppf(0.95)
    assert limit > 4  # above the highest
    found = scale_of(windows, of, {"source": True, "target": True})
    assert found == pytest.approx({"source": limit, "target": 1})
