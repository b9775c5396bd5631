"""Draws plots of arrays as inline SVG text that follows the theme of the page.

Matplotlib draws in placeholder colours, which become CSS variables of page.html, and keeps text as
text, so that plots are legible in light and dark mode. No plot relies on colour alone to
distinguish things. Each plot is as wide as the screen of a phone.
"""

import base64
import contextlib
import hashlib
import io
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import DECIBELS
from asd_jax.runtime.printable import printable
from asd_jax.scoring.auc import MAX_FPR, tie_groups
from asd_jax.scoring.intervals import Interval

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
LONGEST_LABEL = 32  # characters, which take half of the width
COLUMNS = "official_score", "auc_source", "auc_target", "auc", "pauc", "pauc_source", "pauc_target"
# Colour and pattern of the bars of each column.
_BARS = (
    (NORMAL, ""),
    (ANOMALY, "////"),
    (THIRD, "...."),
    (FAINT, "xx"),
)
_SHADES = 32  # number of colours in a spectrogram; fewer make smaller files
_IMAGE_COLUMNS = 256  # largest width of a spectrogram; longer clips are averaged


@contextlib.contextmanager
def svg_axes(
    height: float, rows: int = 1, *, margins: dict[str, Any] | None = None, **options
) -> Iterator[tuple]:
    """Context manager: gives axes to draw on, and a list that holds the SVG text after the block.

    The height is in inches.
    """
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    cycle = cycler(color=[NORMAL, ANOMALY, THIRD, INK])
    with matplotlib.rc_context(_STYLE), matplotlib.rc_context({"axes.prop_cycle": cycle}):
        figure = Figure((WIDTH, height), layout=None if margins else "constrained")
        svg = []
        yield figure.subplots(rows, gridspec_kw=margins, **options), svg
        file = io.StringIO()
        # Letters that Matplotlib's font lacks are in the font of the page.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg.append(_inline(file.getvalue()))


def _inline(svg: str) -> str:
    """Returns an SVG file as an element for a page.

    It has theme colours, and identifiers that no other plot on the page has.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=data:image/png;base64,)[^\"]*", _in_few_shades, svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    # A hash of the content makes the identifiers unique on the page and reproducible.
    own = hashlib.blake2b(svg.encode(), digest_size=4).hexdigest()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", svg)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*" ?', r'<svg aria-hidden="true" \1', svg, count=1)
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    return svg


def _in_few_shades(match: re.Match) -> str:
    """Returns a PNG of four bytes per cell as one of one byte per cell, a third of the size."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(match[0]))).convert("RGB")
    image.quantize(2 * _SHADES, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def auc_bars(values: Mapping[str, Mapping[str, Interval]]) -> str:
    """Returns horizontal bars in percent of {machine: {column: interval of a fraction}}."""
    columns = [column for column in COLUMNS if any(column in row for row in values.values())]
    step = len(columns) + 1
    with svg_axes(1.1 + 0.16 * step * len(values)) as (axes, svg):
        for place, (column, (colour, hatch)) in enumerate(zip(columns, _BARS, strict=False)):
            shown = [
                (n * step + place, row[column])
                for n, row in enumerate(values.values())
                if column in row
            ]
            at = [p for p, _ in shown]
            bars = [bar for _, bar in shown]
            reach = [[b.value - b.low for b in bars], [b.high - b.value for b in bars]]
            axes.barh(
                at,
                [100 * b.value for b in bars],
                0.8,
                # An interval need not contain the value, but the length of an error bar must not be
                # negative.
                xerr=np.maximum(np.multiply(100, reach), 0),
                label=column_title(column),
                color=colour,
                alpha=0.75,
                hatch=hatch,
                edgecolor=INK,
                linewidth=0.6,
                error_kw={"ecolor": INK, "capsize": 2, "elinewidth": 1},
            )
        axes.axvline(50, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(
            [n * step + (len(columns) - 1) / 2 for n in range(len(values))],
            [_short(printable(name)) for name in values],
        )
        axes.set(xlim=(0, 100), xlabel="%  (dotted: chance; whiskers: 95 % interval)")
        axes.invert_yaxis()
        axes.figure.legend(loc="outside upper center", ncols=len(columns))
    return svg[0]


def difference_bars(
    differences: Mapping[str, Interval], reference: str, unit: str = "percentage points"
) -> str:
    """Returns points with whiskers, in percent, of {name: difference of fractions to a reference}.

    An interval that crosses the line of no difference is drawn hollow.
    """
    with svg_axes(0.9 + 0.3 * len(differences)) as (axes, svg):
        for place, of in enumerate(differences.values()):
            clear = of.low > 0 or of.high < 0
            axes.plot([100 * of.low, 100 * of.high], [place, place], color=INK, linewidth=1)
            axes.plot(
                100 * of.value,
                place,
                "o",
                color=NORMAL if of.value >= 0 else ANOMALY,
                fillstyle="full" if clear else "none",
            )
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(differences)), [_short(printable(name)) for name in differences])
        axes.set_xlabel(f"minus {_short(printable(reference))}, {unit} (hollow: may be chance)")
        axes.set_ylim(len(differences) - 0.5, -0.5)
    return svg[0]


def score_histograms(
    scores: Mapping[str, Mapping[str, np.ndarray]], *, threshold: float | None, unit: str
) -> str:
    """Returns one histogram per domain, on a common scale.

    Args:
        scores: {domain: {"normal" or "anomaly": anomaly scores}}.
        threshold: score to mark, or None.
        unit: unit of the scores, for the axis.
    """
    every = np.concatenate([part for parts in scores.values() for part in parts.values()])
    bins = np.histogram_bin_edges(every, bins=24)
    looks = {
        "normal": {"color": NORMAL, "alpha": 0.8},
        "anomaly": {"color": ANOMALY, "hatch": "////", "fill": False},
    }
    with svg_axes(0.8 + 1.25 * len(scores), len(scores), sharex=True, squeeze=False) as (axes, svg):
        for panel, (domain, parts) in zip(axes[:, 0], scores.items(), strict=True):
            for name, part in parts.items():
                look = looks.get(name, {"color": FAINT, "alpha": 0.8})
                panel.hist(
                    part, bins, label=name, rwidth=0.86, edgecolor=INK, linewidth=0.6, **look
                )
            if threshold is not None and np.isfinite(threshold):
                panel.axvline(threshold, color=INK, linestyle="--", linewidth=1, label="threshold")
            counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
            panel.set_title(f"{domain} domain: {counts}", loc="left")
            panel.set_ylabel("clips")
            panel.yaxis.get_major_locator().set_params(integer=True)
        drawn = [panel.get_legend_handles_labels() for panel in axes[:, 0]]
        named = {
            label: handle
            for handles, labels in drawn
            for handle, label in zip(handles, labels, strict=True)
        }
        axes[0, 0].figure.legend(
            named.values(), named.keys(), loc="outside upper center", ncols=len(named)
        )
        axes[-1, 0].set_xlabel(f"anomaly score ({unit})")
    return svg[0]


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Returns ROC curves of {name: (labels, scores)}, with the region of the partial AUC shaded."""
    with svg_axes(3.4) as (axes, svg):
        axes.axvspan(
            0,
            MAX_FPR,
            color=FAINT,
            alpha=0.2,
            linewidth=0,
            label=f"pAUC region (up to {MAX_FPR:g})",
        )
        axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1, label="chance")
        for (name, (label, score)), colour, line in zip(
            curves.items(), (NORMAL, ANOMALY, INK), ("-", "--", "-."), strict=False
        ):
            normals, anomalies = (np.r_[0, np.cumsum(part)] for part in tie_groups(label, score))
            axes.plot(
                normals / normals[-1], anomalies / anomalies[-1], line, color=colour, label=name
            )
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate (fraction of normal clips)"
        )
        axes.set_ylabel("true positive rate (fraction)")
        axes.legend(loc="lower right")
    return svg[0]


def embedding_map(
    points: Float[np.ndarray, "n 2"], groups: Sequence[str], axis_labels: Sequence[str]
) -> str:
    """Returns a scatter plot of points in a plane, with a separate marker for each group."""
    looks = {  # marker, size, colour, filled
        "training, source": ("o", 8, FAINT, True),
        "training, target": ("s", 10, FAINT, False),
        "normal, source": ("o", 14, NORMAL, False),
        "normal, target": ("^", 16, NORMAL, False),
        "anomaly, source": ("x", 16, ANOMALY, True),
        "anomaly, target": ("+", 22, ANOMALY, True),
    }
    with svg_axes(3.6) as (axes, svg):
        for name in [*looks, *sorted(set(groups) - set(looks))]:
            here = np.array([group == name for group in groups])
            marker, size, colour, filled = looks.get(name, ("D", 8, THIRD, False))
            if here.any():
                face = {"c": colour} if filled else {"facecolors": "none", "edgecolors": colour}
                x, y = points[here].T
                axes.scatter(
                    x,
                    y,
                    size,
                    marker=marker,
                    linewidths=0.9,
                    label=f"{name} ({here.sum()})",
                    **face,
                )
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
        axes.figure.legend(loc="outside upper center", ncols=2)
    return svg[0]


def curves(
    x: Sequence[float | int], y: Mapping[str, Sequence[float | int]], x_label: str, y_label: str
) -> str:
    """Returns lines of {name: values at each x}, each with its own stroke and marker."""
    looks = (NORMAL, "-", "o"), (ANOMALY, "--", "s"), (THIRD, "-.", "^"), (INK, ":", "x")
    with svg_axes(3.0) as (axes, svg):
        for (name, values), (colour, line, marker) in zip(
            y.items(), itertools.cycle(looks), strict=False
        ):
            look = {"color": colour, "marker": marker, "markersize": 4}
            axes.plot(x, values, line, label=printable(name), **look)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.figure.legend(loc="outside upper center", ncols=4)
    return svg[0]


def training_curves(rows: Sequence[Mapping[str, float | int]]) -> str:
    """Returns loss, accuracy (or other metrics) and learning rate over training steps.

    `rows` are those of metrics.jsonl.
    """
    names = [n for n in rows[-1] if n not in ("step", "clips_per_second", "learning_rate")] + [
        "learning_rate"
    ]
    units = {
        "loss": "loss (nats)",
        "accuracy": "accuracy (fraction)",
        "learning_rate": "learning rate",
    }
    names = [name for name in names if any(name in row for row in rows)]
    with svg_axes(0.5 + 1.3 * len(names), len(names), sharex=True, squeeze=False) as (axes, svg):
        for panel, name in zip(axes[:, 0], names, strict=True):
            points = [(row["step"], row[name]) for row in rows if name in row]
            panel.plot(
                *zip(*points, strict=True), color=NORMAL, marker="." if len(points) < 30 else ""
            )
            # Beside a panel this low, a long name would be cut.
            panel.set_title(units.get(name, name), loc="left")
        axes[-1, 0].set_xlabel("step")
    return svg[0]


def filter_shapes(bank: Float[np.ndarray, "f k"], sample_rate: int, *, every: int = 8) -> str:
    """Returns a plot of every `every`-th filter, above the density of all filters."""
    hz = np.linspace(0, sample_rate / 2, bank.shape[1]) / 1000
    with svg_axes(3.2, 2, sharex=True) as ((shapes, density), svg):
        for number, weights in enumerate(bank[::every]):
            seen = np.flatnonzero(weights > 1e-3 * bank.max())
            if len(seen):
                part = slice(max(seen[0] - 1, 0), seen[-1] + 2)
                line = "-" if number % 2 else "--"
                shapes.plot(
                    hz[part],
                    weights[part],
                    line,
                    color=NORMAL if number % 2 else ANOMALY,
                    linewidth=1,
                )
        shapes.set(ylabel="weight", title=f"every {every}th of {len(bank)} filters")
        density.step(hz, bank.sum(0), color=INK, linewidth=1, where="mid")
        density.set(ylabel="sum of all weights", xlabel="frequency (kHz)", ylim=(0, None))
    return svg[0]


def decibel_range(log_energies: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Returns the lowest and highest level to colour, in dB, for natural-log energies.

    They are the quantiles 0.01 and 0.995, so that outliers do not use up the colour range.
    """
    low, high = np.quantile(log_energies * DECIBELS, (0.01, 0.995)).tolist()
    return low, high


def spectrograms(
    log_energies: Float[np.ndarray, "t f"],
    weights: Float[np.ndarray, "t f"] | None,
    filter_hz: Float[np.ndarray, "f"],
    *,
    hop_seconds: float,
    decibels: tuple[float, float],
    heat: Float[np.ndarray, "t f"] | None = None,
) -> str:
    """Returns energies, attention weights and heat above each other, over time in s.

    Weights and heat are left out if they are None.

    Args:
        log_energies: natural-log energies of the filter bank.
        weights: SimAM weights, 0.62 to 1, or None.
        filter_hz: centre frequency of each filter, for the axis.
        hop_seconds: time between frames.
        decibels: range of the colours, so that clips can be compared.
        heat: how anomalous each cell is, in standard deviations of normal cells.
    """
    low, high = decibels
    panels = [
        (
            log_energies * DECIBELS,
            "magma",
            decibels,
            f"energy: dark {low:.0f} dB, bright {high:.0f} dB",
        )
    ]
    if weights is not None:
        panels.append((weights, "viridis", (0.62, 1.0), "SimAM weight: dark 0.62, bright 1"))
    if heat is not None:
        # The single oddest cell would leave all others dark.
        top = max(1.0, float(np.quantile(heat, 0.98)))
        title = f"oddness: dark 0, bright {top:.1f} or more standard deviations"
        panels.append((heat, "inferno", (0.0, top), title))
    # The margins are fixed, because computing them takes longer than drawing.
    height = 0.5 + 1.45 * len(panels)
    margins = {
        "left": 0.12,
        "right": 0.98,
        "bottom": 0.45 / height,
        "top": 1 - 0.25 / height,
        "hspace": 0.22,
    }
    with svg_axes(height, len(panels), margins=margins, sharex=True, squeeze=False) as (axes, svg):
        for panel, (values, colours, limits, title) in zip(axes[:, 0], panels, strict=True):
            _image(panel, values, colours, limits, hop_seconds)
            _filter_axis(panel, filter_hz)
            panel.set_title(title, loc="left")
        axes[-1, 0].set_xlabel("time (s)")
    return svg[0]


def _image(axes, values, colours, limits, hop_seconds):
    import matplotlib

    frames, filters = values.shape
    pooled = -(-frames // _IMAGE_COLUMNS)
    edges = np.arange(0, frames, pooled)
    # The last column may average fewer frames than the others.
    values = np.add.reduceat(values, edges) / np.diff(np.r_[edges, frames])[:, None]
    axes.imshow(
        values.T,
        cmap=matplotlib.colormaps[colours].resampled(_SHADES),
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(0, frames * hop_seconds, -0.5, filters - 0.5),
    )


def _filter_axis(axes, filter_hz):
    """Sets ticks at round frequencies, at the positions of their filters.

    The lowest filters of a bank may share a frequency.
    """
    kilohertz = [
        k for k in (0.25, 0.5, 1, 2, 4, 6, 8) if filter_hz[0] / 1000 <= k <= filter_hz[-1] / 1000
    ]
    places = np.interp([1000 * k for k in kilohertz], filter_hz, np.arange(len(filter_hz)))
    # Labels that are closer than this would overlap.
    apart = [
        n for n, place in enumerate(places) if n == 0 or place - places[n - 1] > len(filter_hz) / 14
    ]
    axes.set_yticks(places[apart], [f"{kilohertz[n]:g}" for n in apart])
    axes.set_ylabel("kHz")


def _short(name: str) -> str:
    """Returns a name for an axis, without its middle if it is long."""
    half = LONGEST_LABEL // 2
    return name if len(name) <= LONGEST_LABEL else f"{name[: half - 1]}…{name[-half:]}"


def column_title(column: str) -> str:
    """Returns the title of a column: auc_source becomes "AUC source"."""
    return column.replace("auc", "AUC").replace("_", " ")
