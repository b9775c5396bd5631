import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from reporting.drawn import PLOTS


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_names_its_units_follows_the_theme_and_fits_a_phone(name):
    draw, words = PLOTS[name]
    svg = draw()
    text = [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]
    assert [word for word in words if word not in " ".join(filter(None, text))] == []
    colours = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert not colours, f"colours that do not follow the theme: {colours}"
    assert "var(--ink)" in svg and float(re.search(r'width="([\d.]+)pt"', svg)[1]) < 360
    assert svg == draw()


@pytest.mark.parametrize("name", PLOTS)
def test_no_title_and_no_label_of_a_plot_is_cut(name, monkeypatch):
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k))
    )
    PLOTS[name][0]()
    (figure,) = figures
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
