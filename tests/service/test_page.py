"""The page, in a real browser."""

import os
from pathlib import Path

import pytest
from browser import Browser
from watch_service import AUTHORIZED, TOKEN, serve_an_alarm, write_service

from asd_jax.monitoring.cases import cases


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
