"""Finds slow changes of a machine: slope with interval, date of the change, time to the threshold.

    scores = trend(series.time, series.score, series.count, now=time, threshold=2.0)
    print(scores.message("score"))

Scores have a daily cycle (temperature, shifts), windows of one hour resemble each other, and a
single alarm must not look like a trend. Hence the values of a day count as one, their median; days
are counted back from now, so that each is complete. Whether they change is tested by their ranks,
with a correction for the correlation from one day to the next. Nothing here is learned from the
readings and kept: the baseline is that of the detector, so that a slow fault cannot become normal.
"""

import dataclasses
import datetime

import numpy as np
from jaxtyping import Float

from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend_statistics import (
    shape_of,
    significance,
    slope_of,
    variance_inflation,
)
from asd_jax.runtime.errors import InputError

DAYS = 30  # that a trend looks back
FEWEST_DAYS = 7  # with fewer, chance and the week cannot be told from a trend
# Of one look, two-sided; there is one look a day, and at most one report a week (benchmarks.trend).
SIGNIFICANCE = 0.05
HORIZON_DAYS = 30.0  # a rising score is reported if it may reach the threshold within this time
REPORT_AGAIN_DAYS = 7.0


@dataclasses.dataclass(frozen=True)
class Trend:
    """How a value develops.

    Attributes:
        days: number of days with readings that were used.
        slope: change in one day, since `since`.
        slope_interval: its 95 % interval.
        p_value: probability that a steady value looks like this in one look.
        direction: 1 rising, -1 falling, 0 not significant.
        shape: "line" (from the first day on), "bend" (steady, then rising or falling), "step".
        since: start of the change, Unix time; the first day of a "line".
        change: present value minus that before `since`, or that of the first day of a "line".
        present: present value.
        threshold: threshold of the value, NaN if it has none.
    """

    days: int
    slope: float
    slope_interval: tuple[float, float]
    p_value: float
    direction: int
    shape: str
    since: float
    change: float
    present: float
    threshold: float = float("nan")

    @property
    def days_to_threshold(self) -> tuple[float, float, float]:
        """Returns (best guess, earliest, latest) days until the threshold is reached.

        They are infinite where a slope is not positive, and for a step, which does not go on; 0 if
        the threshold is exceeded already.
        """
        room = self.threshold - self.present
        low, high = self.slope_interval
        if np.isnan(room) or self.shape == "step":
            return np.inf, np.inf, np.inf

        def days_at(slope: float) -> float:
            return max(room, 0.0) / slope if slope > 0 else np.inf

        # The steepest slope of the interval reaches the threshold first.
        return days_at(self.slope), days_at(high), days_at(low)

    @property
    def due(self) -> bool:
        """Returns whether to report it: it rises, by a step or towards the threshold."""
        soon = self.days_to_threshold[0] <= HORIZON_DAYS
        return self.direction > 0 and (self.shape == "step" or soon)

    def message(self, name: str, unit: str = "") -> str:
        """Returns the trend in a sentence about a value of this name and unit."""
        unit = f" {unit}" if unit else ""
        low, high = self.slope_interval
        rate = f"{self.slope:+.3g}{unit} a day ({low:+.3g} to {high:+.3g})"
        if not self.direction:
            # A fault that has been there for longer than the days looked at is steady, too.
            text = f"{name} steady over {self.days} days: {rate}, now {self.present:.3g}{unit}"
            if np.isnan(self.threshold):
                return text
            return f"{text}; the threshold is {self.threshold:.3g}"
        text = f"{name} {'rising' if self.direction > 0 else 'falling'}"
        at_least = "at least " if self.shape == "line" else ""
        text += f" since {at_least}{date(self.since)}"
        # A step is over, so it has no rate, and no date at which it reaches anything.
        if self.shape == "step":
            return f"{text}, by {self.change:+.3g}{unit} at once, to {self.present:.3g}"
        text += f", by {rate}, now {self.present:.3g}"
        likely, early, late = self.days_to_threshold
        if not np.isfinite(likely):
            return text
        if likely == 0:
            return f"{text}: above the threshold of {self.threshold:.3g}"
        until = f"{late:.0f}" if np.isfinite(late) else "never"
        return (
            f"{text}; reaches the threshold of {self.threshold:.3g} in about {likely:.0f} days "
            f"({early:.0f} to {until})"
        )


def date(time: float) -> str:
    """Returns the local date of a Unix time, e.g. "14 March 2026"."""
    local = datetime.datetime.fromtimestamp(time).astimezone()
    return f"{local.day} {local:%B %Y}"


def daily(
    time: Float[np.ndarray, "n"],
    value: Float[np.ndarray, "n"],
    count: Float[np.ndarray, "n"],
    now: float,
    days: int = DAYS,
) -> tuple[Float[np.ndarray, "t"], Float[np.ndarray, "t"]]:
    """Returns (start, median) of each of the last days that has values, oldest first.

    A day is one of 24 hours, counted back from `now`; a value counts as `count` windows.
    """
    # Readings of a clock that ran ahead are left out.
    known = ~np.isnan(value) & (time < now) & (time >= now - days * DAY)
    number = np.ceil((now - time[known]) / DAY).astype(int)
    value = value[known]
    count = count[known]
    ages = np.unique(number)[::-1]
    medians = [_weighted_median(value[number == age], count[number == age]) for age in ages]
    return now - ages * DAY, np.array(medians)


def trend(
    time: Float[np.ndarray, "n"],
    value: Float[np.ndarray, "n"],
    count: Float[np.ndarray, "n"],
    *,
    now: float,
    threshold: float = float("nan"),
    days: int = DAYS,
    looks: int = 1,
) -> Trend:
    """Returns the trend of a value over the last days.

    Args:
        time: Unix time of each value.
        value: the values; NaN where unknown.
        count: number of windows that each stands for.
        now: end of the last day.
        threshold: threshold of the value.
        days: how far to look back.
        looks: number of values that are looked at together, each of which may rise by chance.

    Raises:
        InputError: fewer than 7 days have values.
    """
    # Days are compared, not readings, because the windows of a day are far from independent.
    start, median = daily(time, value, count, now, days)
    if len(start) < FEWEST_DAYS:
        raise InputError(
            f"{len(start)} of the last {days} days have readings: at least {FEWEST_DAYS} are "
            "needed for a trend"
        )
    at = (start - start[0]) / DAY
    shape, first, residual = shape_of(at, median)
    # Successive days resemble each other, so they say less than as many independent ones.
    wider = np.sqrt(variance_inflation(residual))
    p_value, direction = significance(at, median, wider, SIGNIFICANCE / looks)
    segment = slice(first if shape == "bend" else 0, None)
    slope, interval = slope_of(at[segment], median[segment], wider)
    # The values of a day belong to its middle, and the present is the end of the last one.
    ahead = (now - start[-1]) / DAY - 0.5
    if shape == "step":
        before = float(np.median(median[:first]))
        present = float(np.median(median[first:]))
    else:
        fitted = np.median(median[segment] - slope * at[segment])
        before = float(np.median(median[:first])) if first else float(fitted)
        present = float(fitted + slope * (at[-1] + ahead))
    return Trend(
        days=len(start),
        slope=slope,
        slope_interval=interval,
        p_value=p_value,
        direction=direction,
        shape=shape,
        since=float(start[first]),
        change=present - before,
        present=present,
        threshold=threshold,
    )


def score_trend(store: Store, machine: str, now: float, days: int = DAYS) -> Trend:
    """Returns the trend of a machine's scores; arguments and errors as for `trend`."""
    series = store.readings(machine, now - days * DAY, now)
    threshold = float(series.threshold[-1]) if len(series.time) else float("nan")
    return trend(series.time, series.score, series.count, now=now, threshold=threshold, days=days)


def reported_trend(store: Store, machine: str, now: float) -> str:
    """Returns a message if the scores rise and no report was made within a week, else "".

    The report is recorded as an event "trend".

    Raises:
        NotStored: the store cannot be read or written.
    """
    try:
        # Levels are shown, but not reported: they change with the load.
        scores = score_trend(store, machine, now)
    except NotStored:
        raise
    except InputError:  # too few days
        return ""
    if not scores.due:
        return ""
    # A report that a wrong clock dated years ahead must not suppress those of years.
    if store.query(
        "SELECT 1 FROM events e JOIN machines m ON m.id = e.machine "
        "WHERE m.name = ? AND kind = 'trend' AND abs(time - ?) < ? LIMIT 1",
        machine,
        now,
        REPORT_AGAIN_DAYS * DAY,
    ):
        return ""
    message = scores.message("score")
    store.event(machine, now, "trend", message, since=scores.since, slope=scores.slope)
    return message


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Returns the lower median of values that count by their weights."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
