import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from reporting.drawn import PLOTS, drawn
from reporting.looks import golden_looks, looks

from asd_jax.reporting import plots, svg
from asd_jax.runtime.printable import printable
from asd_jax.scoring.intervals import Interval


def test_no_two_plots_share_a_name():
    texts = [drawn(name)[0] for name in PLOTS]
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert len(set.union(*names)) == sum(map(len, names)) > 0
    for text, own in zip(texts, names, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= own
    # The prefix of eight digits is a hash of the plot.
    prefixes = [{name[:8] for name in of} for of in names]
    assert all(len(of) == 1 and re.fullmatch("[0-9a-f]{8}", *of) for of in prefixes)


def test_a_plot_is_an_element_for_the_page_that_scales_with_it():
    """Screen readers get the caption instead."""
    text, _ = drawn("bars")
    opening = text[: text.index(">")]
    assert opening.startswith('<svg aria-hidden="true" ') and 'width="338.4pt"' in opening
    assert "height" not in opening and "<metadata" not in text and '<g id="' not in text
    (hatching,) = set(re.findall(r"<pattern.*?stroke-width: ([\d.]+)", text, re.DOTALL))
    assert hatching == "0.8"


def test_letters_lines_and_legends_have_the_style_of_the_page():
    assert list(looks(drawn("map")[1])) == golden_looks()["map"]


def test_a_spectrogram_has_one_byte_per_cell_in_the_colours_drawn(monkeypatch):
    pictures = []
    make_small = svg._in_few_shades

    def kept(match):
        pictures.append((match[0], make_small(match)))
        return pictures[-1][1]

    monkeypatch.setattr(svg, "_in_few_shades", kept)
    assert PLOTS["spectrograms"][0]().count("<image") == len(pictures) == 2
    for pair in pictures:
        before, after = (Image.open(io.BytesIO(base64.b64decode(text))) for text in pair)
        assert after.mode == "P"
        pixels = np.asarray(after.convert("RGB"))
        np.testing.assert_array_equal(pixels, np.asarray(before.convert("RGB")))
        assert 16 < len(np.unique(pixels.reshape(-1, 3), axis=0)) <= svg.SHADES == 32


@pytest.mark.parametrize(
    "name", ["$\\foo$", "$x$ and $", "a_b^c", "\udcff", "\x1b[31m", "<b>&amp;", "\0"]
)
def test_names_are_drawn_as_they_are(name):
    value = Interval(0.7, 0.6, 0.8)
    for plot in (
        plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}}),
        plots.curves([1, 2], {name: [1.0, 2.0]}, "x", "y"),
    ):
        words = {text.text for text in ET.fromstring(plot).iter() if text.tag.endswith("text")}
        assert printable(name) in words


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["ファン 00", "🔥", "a" * 255 + " 00"])
def test_long_names_and_letters_of_other_fonts_leave_room_and_no_warning(name):
    value = Interval(0.7, 0.6, 0.8)
    plot = plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}})
    words = {text.text for text in ET.fromstring(plot).iter() if text.tag.endswith("text")}
    assert name in words or {"a" * 15 + "…" + "a" * 13 + " 00"} <= words
