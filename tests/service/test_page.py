"""The page, as text and in a real browser."""

import dataclasses
import datetime
import os
import re
import time
from pathlib import Path

import pytest
from browser import Browser
from watch_service import AUTHORIZED, TOKEN, serve_an_alarm, write_service

from asd_jax.monitoring.cases import Occurrence, acknowledge, cases, clear_case, raise_case
from asd_jax.monitoring.shelving import shelve
from asd_jax.monitoring.store import Store
from asd_jax.service.page import login_page, machines_page
from asd_jax.service.trends import Trends
from asd_jax.service.watcher import Watcher

HEALTHY = {
    "microphone": "listening",
    "alarm": False,
    "score": 1.25,
    "threshold": 2.0,
    "note": "",
    "time": 1.7e9,
    "dropped": 0,
    "message": "",
}


class Known(Watcher):
    """A watcher of which only the state is known."""

    def __init__(self, state):
        self.known = state

    def state(self):
        return self.known


class Drawn(Trends):
    """Trends that need no readings."""

    def drawing(self, machine):
        return f"<svg>{machine}</svg>"

    def sentence(self, machine):
        return f"{machine} is rising"


@dataclasses.dataclass
class Shown:
    """A service whose machines have these states; {machine: what differs from HEALTHY}."""

    web_store: Store
    machines: dict
    waiting: tuple = ()

    @property
    def watchers(self):
        return {name: Known(HEALTHY | {"machine": name} | of) for name, of in self.machines.items()}

    def receivers(self):
        return [{"receiver": "r", "waiting": waiting} for waiting in self.waiting]

    def page(self):
        """Returns {machine: text of its card}, in order, and all before the first card."""
        head, *cards = machines_page(self, Drawn(self.web_store)).split("<article ")
        return {re.search(r'id="(\w+)"', card)[1]: card for card in cards}, head


def clock_time(seconds):
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def test_a_machine_that_needs_somebody_comes_first_and_one_that_listens_last(store):
    raise_case(store, "raised", Occurrence(1.7e9, 3.0, 2.0))
    raise_case(store, "cleared", Occurrence(1.7e9, 3.0, 2.0))
    clear_case(store, "cleared", 1.7e9 + 1, 3.0)
    acknowledge(store, raise_case(store, "known", Occurrence(1.7e9, 3.0, 2.0)).id, 1.7e9)
    raise_case(store, "shelved", Occurrence(1.7e9, 3.0, 2.0))
    shelve(store, "shelved", time.time(), time.time() + 3600)
    machines = {name: {} for name in ("well", "known", "shelved", "raised", "cleared")}
    machines |= {"lost": {"microphone": "lost"}, "on": {"alarm": True, "microphone": "silent"}}
    cards, _ = Shown(store, machines).page()
    assert list(cards) == ["on", "raised", "cleared", "lost", "well", "known", "shelved"]
    assert {name for name, card in cards.items() if "card needed" in card} == {
        "on", "raised", "cleared",
    }  # fmt: skip
    until = cases(store, "shelved")[0].shelved_until
    assert f"shelved until {clock_time(until)}" in cards["shelved"]


def test_a_card_says_what_is_known_of_its_machine(store):
    cards, _ = Shown(store, {"pump": {}, "fan": {"score": None, "time": None}}).page()
    assert "score 1.25, threshold 2.00" in cards["pump"]
    assert f"last window {clock_time(1.7e9)}" in cards["pump"]
    assert "<svg>pump</svg>" in cards["pump"] and "pump is rising" in cards["pump"]
    assert "highest scores of the last 7 days" in cards["pump"]
    assert "no window was scored yet" in cards["fan"] and "alarm " not in cards["fan"]


def test_a_card_shows_the_latest_alarm_with_its_evidence(store, tmp_path):
    old = raise_case(store, "pump", Occurrence(1.6e9, 9.0, 2.0, "an old one"))
    clear_case(store, "pump", 1.6e9, 9.0)
    acknowledge(store, old.id, 1.6e9)
    for peak, message in ((3.0, "first"), (5.125, "second"), (4.0, "third")):
        evidence = str(tmp_path / message)
        case = raise_case(store, "pump", Occurrence(1.7e9, peak, 2.0, message, evidence))
    pump = Shown(store, {"pump": {}})
    card = pump.page()[0]["pump"]
    assert f"alarm {case.id}: raised, since {clock_time(1.7e9)}, 3 times" in card
    assert "third; highest score 5.12" in card and "acknowledged" not in card
    assert "heat_map.svg" not in card  # not written yet
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "heat_map.svg").write_text("<svg/>")
    assert f"/api/alarms/{case.id}/heat_map.svg" in pump.page()[0]["pump"]
    acknowledge(store, case.id, 1.7e9 + 1, "Ann", "bearing ordered")
    assert "acknowledged by Ann: bearing ordered" in pump.page()[0]["pump"]


def test_an_alarm_without_evidence_has_no_picture(store, tmp_path, monkeypatch):
    raise_case(store, "pump", Occurrence(1.7e9, 3.0, 2.0))
    (tmp_path / "heat_map.svg").write_text("<svg/>")
    monkeypatch.chdir(tmp_path)
    assert "heat_map.svg" not in Shown(store, {"pump": {}}).page()[0]["pump"]


def test_the_state_of_a_machine_is_shown_although_the_record_cannot_be_read(store):
    store.query("DROP TABLE occurrences")
    store.query("DROP TABLE cases")
    card = Shown(store, {"pump": {}}).page()[0]["pump"]
    assert "score 1.25" in card and "cannot be used as a store" in card


def test_the_page_tells_its_time_and_how_many_events_wait(store):
    _, head = Shown(store, {}, (2, None, 3)).page()
    assert f"As of {datetime.date.today().isoformat()} " in head
    assert "; 5 events wait for a receiver" in head
    assert "wait for" not in Shown(store, {}).page()[1]
    assert re.search(r"<style>.*:root.*</style>", head, re.DOTALL)


def test_the_login_says_that_a_token_was_wrong_only_if_one_was():
    assert 'role="alert"' not in login_page() and 'role="alert"' in login_page(wrong=True)
    assert re.search(r"<style>.*:root.*</style>", login_page(), re.DOTALL)


@pytest.fixture(scope="module")
def served(tmp_path_factory, plain_detector):
    """A service of its own, as the alarm is acknowledged here."""
    served = serve_an_alarm(write_service(tmp_path_factory.mktemp("page"), plain_detector))
    yield served
    served.end()


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.end()


# The least contrast of a text with what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """Math.min(...[...document.querySelectorAll('h1, h3, p, li, button, figcaption')]
  .filter(e => e.offsetHeight && e.textContent.trim()).map(e => {
    const rgb = c => c.match(/[\\d.]+/g).map(Number);
    const light = c => rgb(c).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
    let behind = e;
    while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0)
      behind = behind.parentElement;
    const back = behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)';
    const both = [light(getComputedStyle(e).color), light(back)].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
  }))"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_page_can_be_read(served, browser, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.do("Emulation.setEmulatedMedia", features=[feature])
    browser.do("Network.setExtraHTTPHeaders", headers=AUTHORIZED)
    for width in (390, 1280):
        browser.open(served.address, width)
        browser.until("document.querySelector('#pump img')?.naturalWidth")
        assert browser.value(CONTRAST) >= 4.5  # measured 4.79 in light, 6.3 in dark
        if picture := os.environ.get("ASD_SCREENSHOTS"):
            browser.screenshot(Path(picture) / f"page_{width}_{scheme}.png")
    browser.do("Network.setExtraHTTPHeaders", headers={})
    browser.do("Emulation.setEmulatedMedia", features=[])


@pytest.mark.browser
def test_an_engineer_opens_the_page_on_a_phone_and_acknowledges_the_alarm(served, browser):
    browser.open(served.address, 390)
    browser.value(f"document.querySelector('#token').value = '{TOKEN}'")
    browser.value("document.querySelector('button').click()")
    browser.until("document.querySelectorAll('article').length == 2")
    picture = os.environ.get("ASD_SCREENSHOTS")
    for width in (390, 1280):
        browser.open(served.address, width)
        # The picture of the evidence is written a moment after the alarm.
        browser.until("document.querySelector('#pump img')?.naturalWidth")
        root = "document.documentElement"
        assert browser.value(f"innerWidth == {width} && {root}.scrollWidth == {root}.clientWidth")
        assert browser.value("document.querySelectorAll('#pump .trend svg').length") == 1
        # What needs somebody comes first.
        assert browser.value("document.querySelector('article').id") == "pump"
        if picture:
            browser.screenshot(Path(picture) / f"page_{width}.png")
    assert "Alarm" in browser.value("document.querySelector('#pump .status').textContent")
    low = "[...document.querySelectorAll('button')].filter(b => b.offsetHeight < 44).length"
    assert browser.value(low) == 0  # a finger's size
    browser.value("localStorage.setItem('by', 'Ann')")
    browser.value("document.querySelector('#pump button').click()")
    # The card is drawn anew by itself, with the state in the record.
    browser.until("document.querySelector('#pump').textContent.includes('acknowledged by Ann')")
    (case,) = cases(served.service.web_store)
    assert case.acknowledged_by == "Ann"
    own = {address for address in browser.addresses if address.startswith(served.address)}
    outside = [a for a in browser.addresses if a not in own and not a.startswith("data:")]
    assert outside == ["about:blank"] * len(outside)
    # The first answer to a browser without the token is 401.
    assert [e for e in browser.errors if "401" not in e] == []
