import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.text import Text
from reporting.drawn import PLOTS, drawn
from reporting.looks import golden_looks, looks

from asd_jax.reporting import plots
from asd_jax.scoring.intervals import Interval


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_names_its_units_follows_the_theme_and_fits_a_phone(name):
    svg, _ = drawn(name)
    text = [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]
    assert [word for word in PLOTS[name][1] if word not in " ".join(filter(None, text))] == []
    colours = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert not colours, f"colours that do not follow the theme: {colours}"
    assert "var(--ink)" in svg and float(re.search(r'width="([\d.]+)pt"', svg)[1]) < 360
    assert svg == PLOTS[name][0]()


@pytest.mark.parametrize("name", PLOTS)
def test_no_title_and_no_label_of_a_plot_is_cut(name):
    _, figure = drawn(name)
    ticks = {
        label
        for axes in figure.axes
        for label in (*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both"))
    }
    shown = [text for text in figure.findobj(Text) if text.get_text() and text not in ticks]
    boxes = [text.get_window_extent() for text in shown]
    # A box has a margin around the letters: measured 2.9 pixels.
    assert boxes and min(box.x0 for box in boxes) > -6
    assert max(box.x1 for box in boxes) < figure.bbox.x1 + 6


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_looks_as_it_did_when_it_was_last_looked_at(name):
    """See looks.py for how the file is made."""
    golden = golden_looks()
    assert list(golden) == list(PLOTS)
    assert list(looks(drawn(name)[1])) == golden[name]


def test_a_name_that_fits_is_shown_whole():
    """Of a longer one, both ends are: what distinguishes names often stands at their ends."""
    for name, shown in (("a" * 32, "a" * 32), ("a" * 17 + "b" * 16, "a" * 15 + "…" + "b" * 16)):
        svg = plots.auc_bars({name: {"auc": Interval(0.7, 0.6, 0.8)}})
        assert f">{shown}<" in svg
