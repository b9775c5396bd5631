"""Claims about the scores of the last days as the page shows them."""

import re
import types

import numpy as np
import pytest

from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import score_trend
from asd_jax.service import trends
from asd_jax.service.trends import Trends, highest_scores, svg_of

NOW = 1.7e9


@pytest.fixture
def clocks(monkeypatch):
    """The clocks that the drawings are made by; both can be set."""
    clocks = types.SimpleNamespace(wall=NOW, steady=0.0)
    clocks.time = lambda: clocks.wall
    clocks.monotonic = lambda: clocks.steady
    monkeypatch.setattr(trends, "time", clocks)
    return clocks


def test_parts_of_time_keep_the_highest_score_and_the_mean(tmp_path):
    scores = np.random.default_rng(0).normal(size=1000)
    with Store(tmp_path / "s.db") as store:
        readings = [
            Reading(NOW + 10.0 * n, 10.0, score, 2.0, -30.0) for n, score in enumerate(scores)
        ]
        store.add("pump", *readings)
        found = highest_scores(store, "pump", NOW, NOW + 10_000.0, 50)
        assert highest_scores(store, "pump", NOW + 20_000.0, NOW + 30_000.0, 50)["time"] == []
    assert found["time"] == [NOW + 190 + 200 * n for n in range(50)]  # of the last reading
    parts = scores.reshape(50, 20)
    assert np.allclose(found["highest"], parts.max(1), atol=1e-4)
    assert np.allclose(found["score"], parts.mean(1), atol=1e-4)
    assert set(found["threshold"]) == {2.0} and set(found["level"]) == {-30.0}


def test_the_drawing_has_the_highest_score_on_top_and_the_threshold_at_its_height():
    scores = {"time": [0.0, DAY, 2 * DAY], "highest": [0.0, 4.0, 2.0], "threshold": [3.0] * 3}
    svg = svg_of(scores)
    assert re.search(r'points="0.00,38.00 50.00,2.00 100.00,20.00"', svg)
    assert 'y1="11.00"' in svg
    assert svg_of({"time": [0.0], "highest": [1.0], "threshold": [3.0]}) == ""
    two = {"time": [0.0, 1.0], "highest": [1.0, 2.0], "threshold": [0.5, 3.0]}
    # Today's threshold is drawn, and a line although all scores lie below it.
    assert 'points="0.00,38.00 100.00,20.00"' in svg_of(two) and 'y1="2.00"' in svg_of(two)
    low = two | {"threshold": [3.0, 0.0]}
    assert 'points="0.00,20.00 100.00,2.00"' in svg_of(low) and 'y1="38.00"' in svg_of(low)


def test_numbers_are_rounded_and_an_unknown_level_stays_unknown(tmp_path):
    with Store(tmp_path / "s.db") as store:
        store.add("pump", Reading(NOW, 10.0, 1 / 3, 2.0))
        found = highest_scores(store, "pump", NOW, NOW + 1, 1)
    assert found == {
        "time": [NOW], "score": [0.3333], "highest": [0.3333], "threshold": [2.0], "level": [None],
    }  # fmt: skip


def test_a_drawing_shows_seven_days_or_all_since_the_first_reading(store, clocks):
    shown = Trends(store)
    assert shown.drawing("pump") == ""
    readings = [(7.1, 9.0), (1.0, 1.0), (0.5, 3.0), (0.1, 2.0)]
    for days, score in readings:
        store.add("pump", Reading(NOW - days * DAY, 10.0, score, 2.0))
    clocks.steady += 30
    expected = highest_scores(store, "pump", NOW - DAY, NOW, 300)
    assert shown.drawing("pump") == svg_of(expected) != ""
    assert expected["highest"] == [1.0, 3.0, 2.0]
    assert shown.drawing("fan") == ""
    many = [Reading(NOW - 3600 + 3 * n, 3.0, 0.0, 2.0) for n in range(1200)]
    store.add("fan", *many)
    clocks.steady += 30
    assert re.search(r'points="(.*)"', shown.drawing("fan"))[1].count(",") == 300


def test_a_drawing_is_kept_for_half_a_minute_and_a_sentence_for_an_hour(store, clocks):
    made = {"drawing": 0, "sentence": 0}

    def make(kind):
        made[kind] += 1
        return f"{kind} {made[kind]}"

    shown = Trends(store)
    shown._drawing = lambda machine: make("drawing")
    shown._sentence = lambda machine: make("sentence")
    for kind, seconds in (("drawing", 30), ("sentence", 3600)):
        ask = getattr(shown, kind)
        clocks.steady = 1e5
        assert ask("pump") == f"{kind} 1"
        clocks.steady = 1e5 + seconds - 0.5
        assert ask("pump") == f"{kind} 1"
        clocks.steady = 1e5 + seconds
        assert ask("pump") == ask("pump") == f"{kind} 2"


def test_a_trend_is_told_in_words_once_there_are_days_enough(store, clocks):
    assert Trends(store).sentence("pump") == ""
    for day in range(14):
        store.add("pump", Reading(NOW - (14 - day) * DAY, 2.0, 0.5 * day, 8.0))
    said = Trends(store).sentence("pump")
    assert said == score_trend(store, "pump", NOW).message("score") and "rising" in said
    store.query("DROP TABLE readings")
    with pytest.raises(NotStored):
        Trends(store).sentence("pump")
