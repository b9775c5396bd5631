"""Renders the page of all machines, in the look of the reports."""

import datetime
import functools
import re
import time
from pathlib import Path

import jinja2
import numpy as np

import asd_jax.reporting
from asd_jax.monitoring.store import DAY, NotStored, Series
from asd_jax.runtime.printable import printable

TREND_DAYS = 7.0
_POINTS = 300  # of a trend on the page


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asd_jax.service", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


@functools.cache
def _style() -> str:
    """Returns the style sheet of the reports' page."""
    page = Path(asd_jax.reporting.__file__ or "").parent / "page.html"
    return re.findall(r"<style>(.*?)</style>", page.read_text(), re.DOTALL)[0]


def login_page(*, wrong: bool = False) -> str:
    """Returns the page that asks for the token."""
    return _template("page.html").render(
        style=_style(), login=True, wrong=wrong, machines=[], now=""
    )


def machines_page(service) -> str:
    """Returns the page with the state, the trend and the last evidence of every machine."""
    now, shown = time.time(), []
    for name, watcher in service.watchers.items():
        state = watcher.state()
        try:
            series = service.store.readings(name, since=now - TREND_DAYS * DAY)
            drawn = trend(series)
        except NotStored as error:
            drawn, state["message"] = "", str(error)
        state["message"] = printable(state["message"])
        of = watcher.evidence
        evidence = of and {
            "score": f"{of.verdict.score:.2f}", "view": of.verdict.view, "time": _time(of.ended)
        }  # fmt: skip
        shown.append(state | {"trend": drawn, "evidence": evidence, "at": _time(state["time"])})
    # What needs somebody comes first.
    shown.sort(key=lambda one: (not one["alarm"], one["microphone"] == "listening"))
    return _template("page.html").render(
        style=_style(), login=False, wrong=False, machines=shown, now=_time(now)
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def trend(series: Series) -> str:
    """Returns an SVG with the scores of a series and the threshold, or "" for fewer than two."""
    if len(series.time) < 2:
        return ""
    step = max(1, -(-len(series.time) // _POINTS))
    starts = np.arange(0, len(series.time), step)
    times, scores = series.time[starts], np.maximum.reduceat(series.highest, starts)
    threshold = float(series.threshold[-1])
    low, high = min(scores.min(), threshold), max(scores.max(), threshold)
    across = 100 * (times - times[0]) / max(times[-1] - times[0], 1e-9)
    up = 38 - 36 * (np.append(scores, threshold) - low) / max(high - low, 1e-9)
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(across, up[:-1], strict=True))
    return (
        '<svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">'
        f'<line x1="0" x2="100" y1="{up[-1]:.2f}" y2="{up[-1]:.2f}" class="threshold"/>'
        f'<polyline points="{points}"/></svg>'
    )
