"""Provides axes whose drawing becomes inline SVG text that follows the theme of the page.

Matplotlib draws in placeholder colours, which become CSS variables of page.html, and keeps text as
text, so that plots are legible in light and dark mode. Each plot is as wide as the screen of a
phone.
"""

import base64
import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from cycler import cycler
from PIL import Image

# Nothing else on a page has these nearly black colours, so they can be replaced as text.
INK = "#010101"
FAINT = "#020202"
NORMAL = "#030303"
ANOMALY = "#040404"
THIRD = "#050505"
_THEME = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    NORMAL: "var(--normal)",
    ANOMALY: "var(--anomaly)",
    THIRD: "var(--third)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # the name of a machine may look like math, e.g. $x$
    "svg.hashsalt": "asd_jax",  # makes the same plot give the same bytes
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.8,
}
WIDTH = 4.7  # inches
SHADES = 32  # number of colours in a spectrogram; fewer make smaller files


@contextlib.contextmanager
def svg_axes(
    height: float, rows: int = 1, *, margins: dict[str, Any] | None = None, **options
) -> Iterator[tuple]:
    """Context manager: yields axes to draw on, and a list that holds the SVG text after the block.

    The height is in inches.
    """
    # Matplotlib takes half a second to import, so only code that draws imports it.
    import matplotlib.figure

    cycle = cycler(color=[NORMAL, ANOMALY, THIRD, INK])
    with matplotlib.rc_context(_STYLE), matplotlib.rc_context({"axes.prop_cycle": cycle}):
        figure = matplotlib.figure.Figure(
            (WIDTH, height), layout=None if margins else "constrained"
        )
        svg = []
        yield figure.subplots(rows, gridspec_kw=margins, **options), svg
        file = io.StringIO()
        # Letters that Matplotlib's font lacks are in the font of the page.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(file, format="svg", transparent=True)
    svg.append(_inline(file.getvalue()))


def _inline(svg: str) -> str:
    """Returns an SVG file as an element for a page.

    It has theme colours, and identifiers that no other plot on the page has.
    """
    # HTML permits no XML declaration before an inline element.
    svg = svg[svg.index("<svg") :]
    # The metadata names the date and the version of Matplotlib, which must not change the bytes.
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=data:image/png;base64,)[^\"]*", _in_few_shades, svg)
    # Nothing refers to groups, and equal identifiers of two plots would clash.
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    # A hash of the content makes the identifiers unique on the page and reproducible.
    own = hashlib.blake2b(svg.encode(), digest_size=4).hexdigest()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", svg)
    # The caption serves screen readers; without a height, the plot scales with the page.
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*" ?', r'<svg aria-hidden="true" \1', svg)
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    return svg


def _in_few_shades(match: re.Match) -> str:
    """Returns a PNG of four bytes per cell as one of one byte per cell, a third of the size."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(match[0]))).convert("RGB")
    # Exact, as a byte counts many more colours than a spectrogram has.
    image.quantize().save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
