"""Claims about the list of everything that changes at a machine."""

import numpy as np
import pytest

from asd_jax.monitoring import report
from asd_jax.monitoring.report import trends
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store

NOW = 1.8e9
DAYS = 20


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "plant.db") as made:
        yield made


def test_of_the_bands_only_those_that_change_are_listed_and_score_and_level_always(
    store, monkeypatch
):
    looks = []

    def looked(*values, days, looks: int, now, of=report.trend, said=looks):
        said.append((looks, days, now))
        return of(*values, now=now, days=days, looks=looks)

    monkeypatch.setattr(report, "trend", looked)
    rng = np.random.default_rng(0)
    for day in range(DAYS):
        bands = rng.normal(-50, 0.1, 8) + [0, 0, 0, 0.5 * day, 0, 0, 0, 0]
        time = NOW - DAY * (DAYS - day - 0.5)
        store.add("pump", Reading(time, 10.0, rng.normal(1, 0.1), 4.0, rng.normal(-30, 0.1), bands))
    store.add("pump", Reading(NOW - DAY, 10.0, 1.0, 4.0))  # without sound
    store.add("pump", Reading(NOW - DAY * (DAYS + 1), 10.0, 99.0, 4.0))  # before the days
    score, level, band = trends(store, "pump", NOW, DAYS)
    # One of eight bands changes by chance eight times as often as the level does.
    assert looks == [(1, DAYS, NOW), *[(8, DAYS, NOW)] * 8]
    assert score[:2] == ("score", "") and level[:2] == ("level", "dB")
    assert score[2].direction == level[2].direction == 0 and score[2].threshold == 4.0
    assert band[:2] == ("level at 50 Hz", "dB")  # the bands begin at 25 Hz
    assert band[2].direction == 1 and band[2].slope == pytest.approx(0.5, abs=0.02)


def test_a_machine_without_levels_has_a_trend_of_its_score_alone(store):
    for day in range(DAYS):
        store.add("pump", Reading(NOW - DAY * (DAYS - day - 0.5), 10.0, 1.0, 4.0))
    assert [name for name, _, _ in trends(store, "pump", NOW, DAYS)] == ["score"]
