"""Draws the scores of the last days, at little cost, as browsers ask for it every few seconds."""

import time
from collections.abc import Callable

from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import score_trend
from asd_jax.runtime.errors import InputError

DAYS = 7.0
_POINTS = 300
# for which a drawing and a sentence are kept
_DRAWN_SECONDS = 30.0
_TREND_SECONDS = 3600.0


def highest_scores(store: Store, machine: str, since: float, until: float, points: int) -> dict:
    """Returns {"time", "score", "highest", "threshold", "level"}, lists of up to `points` values.

    Each value stands for an equal part of the time: its mean and highest score, its highest
    threshold and its mean level in dB. Parts without readings are left out.

    Raises:
        NotStored: the store cannot be read.
    """
    # SQLite groups the rows, since a week of short windows would take seconds in Python.
    rows = store.query(
        "SELECT max(r.time) AS time, total(score * count) / total(count) AS score, "
        "max(highest) AS highest, max(threshold) AS threshold, avg(level) AS level "
        "FROM readings r JOIN machines m ON m.id = r.machine "
        "WHERE m.name = ? AND r.time >= ? AND r.time < ? "
        "GROUP BY CAST((r.time - ?) / ? AS INTEGER) ORDER BY 1",
        machine,
        since,
        until,
        since,
        (until - since) / points,
    )
    names = ("time", "score", "highest", "threshold", "level")
    return {
        name: [None if row[name] is None else round(row[name], 4) for row in rows] for name in names
    }


class Trends:
    """The drawing and the sentence about the trend of each machine, renewed from time to time."""

    def __init__(self, store: Store):
        self._store = store
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    def drawing(self, machine: str) -> str:
        """Returns an SVG with the highest scores of the last days, "" if there are none.

        Raises:
            NotStored: the store cannot be read.
        """
        return self._cached("drawing", machine, _DRAWN_SECONDS, self._drawing)

    def sentence(self, machine: str) -> str:
        """Returns the trend of the scores in words, "" if there are too few days for one.

        Raises:
            NotStored: the store cannot be read.
        """
        return self._cached("sentence", machine, _TREND_SECONDS, self._sentence)

    def _cached(self, kind: str, machine: str, seconds: float, make: Callable[[str], str]) -> str:
        """Returns the text that was made last, or makes it again if it is too old."""
        time_made, text = self._kept.get((kind, machine), (float("-inf"), ""))
        # Pages of several browsers share one drawing.
        if time.monotonic() - time_made >= seconds:
            text = make(machine)
            self._kept[kind, machine] = time.monotonic(), text
        return text

    def _drawing(self, machine: str) -> str:
        """Returns the SVG of `drawing`, drawn now."""
        now = time.time()
        # From the first reading on, since the first day would be a dot at the end of a week.
        first = self._store.query(
            "SELECT min(time) AS time FROM readings r JOIN machines m ON m.id = r.machine "
            "WHERE m.name = ? AND time >= ?",
            machine,
            now - DAYS * DAY,
        )[0]["time"]
        # A clock that was set back may leave readings of the future only.
        if first is None or first >= now:
            return ""
        return svg_of(highest_scores(self._store, machine, first, now, _POINTS))

    def _sentence(self, machine: str) -> str:
        """Returns the text of `sentence`, computed now."""
        try:
            return score_trend(self._store, machine, time.time()).message("score")
        except NotStored:
            raise
        except InputError:  # too few days
            return ""


def svg_of(scores: dict) -> str:
    """Returns an SVG with what `highest_scores` returns, "" for fewer than two values."""
    times = scores["time"]
    highest = scores["highest"]
    if len(times) < 2:
        return ""
    threshold = scores["threshold"][-1]
    # The threshold is always in the picture, as scores mean little without it.
    low = min(*highest, threshold)
    high = max(*highest, threshold)

    def height(score: float) -> str:
        return f"{38 - 36 * (score - low) / max(high - low, 1e-9):.2f}"

    points = " ".join(
        f"{100 * (at - times[0]) / max(times[-1] - times[0], 1e-9):.2f},{height(score)}"
        for at, score in zip(times, highest, strict=True)
    )
    return (
        '<svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">'
        f'<line x1="0" x2="100" y1="{height(threshold)}" y2="{height(threshold)}" '
        f'class="threshold"/><polyline points="{points}"/></svg>'
    )
