"""Readings of a machine as arrays, and their merger into one that covers a longer time."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reading:
    """The score and the levels of one window.

    Attributes:
        time: start of the window.
        seconds: its length.
        score: its anomaly score.
        threshold: threshold of the detector that gave the score.
        level: sound level in dB re full scale; None if unknown.
        bands: levels of the one-third octaves in dB; None if unknown.
    """

    time: float
    seconds: float
    score: float
    threshold: float
    level: float | None = None
    bands: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """The readings of a machine in order of time, as arrays of one length "n".

    Attributes:
        time: start of each reading.
        seconds: what it covers, a window or a merger of several.
        count: number of windows in it.
        score: mean score of the windows.
        highest: highest score of a window.
        threshold: threshold at the time; of a merger, the last one.
        level: level in dB, NaN where unknown; of a merger, of the mean energy.
        bands: levels "n b" of the one-third octaves, NaN where unknown.
    """

    time: np.ndarray
    seconds: np.ndarray
    count: np.ndarray
    score: np.ndarray
    highest: np.ndarray
    threshold: np.ndarray
    level: np.ndarray
    bands: np.ndarray


def series_of(rows: Sequence) -> Series:
    """Returns rows of the table of readings, in order of time, as arrays."""
    columns = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)
        for name in ("time", "seconds", "count", "score", "highest", "threshold", "level")
    }
    # Readings of different sampling rates have different numbers of bands.
    bands = [np.frombuffer(row["bands"] or b"", "<f4") for row in rows]
    width = max(map(len, bands), default=0)
    table = np.full((len(rows), width), np.nan)
    for row, levels in zip(table, bands, strict=True):
        row[: len(levels)] = levels
    return Series(**columns, bands=table)


def merged(series: Series) -> tuple:
    """Returns count, score, highest, threshold, level and bands of the readings as one."""
    count = series.count
    level = _mean_level(series.level[:, None], count)[0]
    bands = _mean_level(series.bands, count)
    return (
        int(count.sum()),
        # Readings that stand for many windows weigh more.
        float(np.average(series.score, weights=count)),
        float(series.highest.max()),
        float(series.threshold[-1]),
        None if np.isnan(level) else float(level),
        bands.astype("<f4").tobytes() if len(bands) else None,
    )


def _mean_level(levels: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns the level of the mean energy of levels "n b" in dB, unknown ones left out."""
    known = ~np.isnan(levels)
    weights = known * count[:, None]
    # Decibels cannot be averaged: the mean level is that of the mean energy.
    energy = np.where(known, 10 ** (np.nan_to_num(levels) / 10), 0) * weights
    total = weights.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 10 * np.log10(energy.sum(0) / total), np.nan)
