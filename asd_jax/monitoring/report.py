"""Trends of everything that the store knows of a machine: score, level, one-third octaves."""

import numpy as np

from asd_jax.monitoring.levels import mid_band_hz
from asd_jax.monitoring.series import Series
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import Trend, score_trend, trend


def trends(store: Store, machine: str, now: float, days: int) -> list[tuple[str, str, Trend]]:
    """Returns (name, unit, trend) of the score, the level, and the bands that change.

    Raises:
        InputError: fewer than 7 days have readings.
    """
    report = [("score", "", score_trend(store, machine, now, days))]
    series = store.readings(machine, now - days * DAY, now)
    # Scores may be stored without the sound that they are of.
    if np.isnan(series.level).all():
        return report
    # The overall level is always shown, as the scores are.
    report.append(("level", "dB", _level_trend(series, series.level, now, days, 1)))
    count = series.bands.shape[1]
    for number, centre in enumerate(mid_band_hz(count)):
        # There are about thirty bands. Each must be more significant, as one of them rises by
        # chance.
        band = _level_trend(series, series.bands[:, number], now, days, count)
        if band.direction:
            report.append((f"level at {centre:.0f} Hz", "dB", band))
    return report


def _level_trend(series: Series, value: np.ndarray, now: float, days: int, looks: int) -> Trend:
    """Returns the trend of a level, which has no threshold."""
    return trend(series.time, value, series.count, now=now, days=days, looks=looks)
