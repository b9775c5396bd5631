"""Claims about the scores of the last days as the page shows them."""

import re

import numpy as np

from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.service.trends import highest_scores, svg_of


def test_parts_of_time_keep_the_highest_score_and_the_mean(tmp_path):
    scores = np.random.default_rng(0).normal(size=1000)
    with Store(tmp_path / "s.db") as store:
        readings = [Reading(10.0 * n, 10.0, score, 2.0, -30.0) for n, score in enumerate(scores)]
        store.add("pump", *readings)
        found = highest_scores(store, "pump", 0.0, 10_000.0, 50)
        assert highest_scores(store, "pump", 20_000.0, 30_000.0, 50)["time"] == []
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
