import re
import xml.etree.ElementTree as ET

import pytest
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
