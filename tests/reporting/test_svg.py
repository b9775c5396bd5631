import re
import xml.etree.ElementTree as ET

import pytest
from reporting.drawn import PLOTS

from asd_jax.reporting import plots
from asd_jax.runtime.printable import printable
from asd_jax.scoring.intervals import Interval


def test_no_two_plots_share_a_name():
    svgs = [draw() for draw, _ in PLOTS.values()]
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in svgs]
    assert len(set.union(*names)) == sum(map(len, names)) > 0
    for svg in svgs:
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(
            re.findall(r'\bid="([^"]+)"', svg)
        )


@pytest.mark.parametrize(
    "name", ["$\\foo$", "$x$ and $", "a_b^c", "\udcff", "\x1b[31m", "<b>&amp;", "\0"]
)
def test_names_are_drawn_as_they_are(name):
    value = Interval(0.7, 0.6, 0.8)
    for svg in (
        plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}}),
        plots.curves([1, 2], {name: [1.0, 2.0]}, "x", "y"),
    ):
        words = {text.text for text in ET.fromstring(svg).iter() if text.tag.endswith("text")}
        assert printable(name) in words


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["ファン 00", "🔥", "a" * 255 + " 00"])
def test_long_names_and_letters_of_other_fonts_leave_room_and_no_warning(name):
    value = Interval(0.7, 0.6, 0.8)
    svg = plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}})
    words = {text.text for text in ET.fromstring(svg).iter() if text.tag.endswith("text")}
    assert name in words or {"a" * 15 + "…" + "a" * 13 + " 00"} <= words
