"""Renders the page of all machines, in the look of the reports."""

import datetime
import functools
import re
import time
from pathlib import Path

import jinja2

import asd_jax.reporting
from asd_jax.detector.evidence import PICTURE
from asd_jax.monitoring.cases import Case, cases
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import Store
from asd_jax.reporting.page import template_environment
from asd_jax.service.trends import DAYS, Trends
from asd_jax.service.watcher import Watcher


@functools.cache
def _template(name: str) -> jinja2.Template:
    """Returns a template of this room, read once."""
    return template_environment("asd_jax.service").get_template(name)


@functools.cache
def _style() -> str:
    """Returns the style sheet of the reports' page."""
    # The style is read from the reports' page, so that both change together.
    page = Path(asd_jax.reporting.__file__ or "").parent / "page.html"
    return re.findall(r"<style>(.*?)</style>", page.read_text(), re.DOTALL)[0]


def login_page(*, wrong: bool = False) -> str:
    """Returns the page that asks for the token."""
    return _template("login.html").render(style=_style(), wrong=wrong)


def machines_page(service, trends: Trends) -> str:
    """Returns the page with the state, the trend and the last alarm of every machine."""
    cards = [_card(service.web_store, trends, watcher) for watcher in service.watchers.values()]
    # What needs somebody comes first.
    cards.sort(key=lambda card: (not card["needs_somebody"], card["microphone"] == "listening"))
    return _template("page.html").render(
        style=_style(),
        machines=cards,
        now=datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
        waiting=sum(one["waiting"] or 0 for one in service.receivers()),
        days=f"{DAYS:.0f}",
    )


def _card(store: Store, trends: Trends, watcher: Watcher) -> dict:
    """Returns what the page shows of a machine."""
    state = watcher.state()
    name = state["machine"]
    card = state | {"drawing": "", "trend": "", "case": None, "needs_somebody": state["alarm"]}
    card["at"] = _text(state["time"])
    try:
        card["drawing"] = trends.drawing(name)
        card["trend"] = trends.sentence(name)
        # The latest case only; the record has all of them.
        for case in cases(store, name, most=1):
            card["case"] = _case(case)
            card["needs_somebody"] |= card["case"]["state"] in ("raised", "cleared")
    # The state of a machine is known without the disk.
    except NotStored as error:
        card["message"] = str(error)
    return card


def _case(case: Case) -> dict:
    """Returns what the page shows of a case."""
    last = case.occurrences[-1]
    return {
        "number": case.id,
        "state": case.state(time.time()),
        "raised": _text(case.raised),
        "count": len(case.occurrences),
        "peak": f"{case.peak:.2f}",
        "message": last.message,
        "by": case.acknowledged_by,
        "note": case.note,
        "acknowledged": case.acknowledged is not None,
        "evidence": bool(last.evidence) and (Path(last.evidence) / PICTURE).is_file(),
        "shelved_until": _text(case.shelved_until),
    }


def _text(seconds: float | None) -> str:
    """Returns a Unix time in this computer's time zone."""
    if seconds is None:
        return "-"
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
