"""Draws plots of scores, curves and filters as inline SVG text.

No plot relies on colour alone to distinguish things.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.reporting.svg import ANOMALY, FAINT, INK, NORMAL, THIRD, svg_axes
from asd_jax.reporting.table import COLUMNS, column_title
from asd_jax.runtime.printable import printable
from asd_jax.scoring.auc import MAX_FPR, tie_groups
from asd_jax.scoring.intervals import Interval

LONGEST_LABEL = 32  # characters, which take half of the width
# Colour and pattern of the bars of each column.
_BARS = (
    (NORMAL, ""),
    (ANOMALY, "////"),
    (THIRD, "...."),
    (FAINT, "xx"),
)


def auc_bars(values: Mapping[str, Mapping[str, Interval]]) -> str:
    """Returns horizontal bars in percent of {machine: {column: interval of a fraction}}."""
    columns = [column for column in COLUMNS if any(column in row for row in values.values())]
    # One place is left empty between the bars of two machines.
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
        # Matplotlib counts upwards, but the first machine stands at the top.
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
        # Below the names as well, because beside long names the axis is too short for this text.
        axes.figure.supxlabel(
            f"minus {_short(printable(reference))}\n{unit} (hollow: may be chance)", fontsize=9
        )
        # Limits in reverse put the first name at the top.
        axes.set_ylim(len(differences) - 0.5, -0.5)
    return svg[0]


def score_histograms(
    scores: Mapping[str, Mapping[str, np.ndarray]], *, threshold: float | None, unit: str
) -> str:
    """Returns one histogram per panel, on a common scale.

    Args:
        scores: {title of a panel: {name: anomaly scores}}; the names "normal" and "anomaly", and
            "learned from" and "called anomalous" of a detector, have looks of their own.
        threshold: score to mark, or None.
        unit: unit of the scores, for the axis.
    """
    every = np.concatenate([part for parts in scores.values() for part in parts.values()])
    bins = np.histogram_bin_edges(every, bins=24)
    looks = {
        "normal": {"color": NORMAL, "alpha": 0.8},
        "anomaly": {"color": ANOMALY, "hatch": "////", "fill": False},
    }
    looks |= {"learned from": looks["normal"], "called anomalous": looks["anomaly"]}
    with svg_axes(0.8 + 1.25 * len(scores), len(scores), sharex=True, squeeze=False) as (axes, svg):
        for panel, (title, parts) in zip(axes[:, 0], scores.items(), strict=True):
            for name, part in parts.items():
                look = looks.get(name, {"color": FAINT, "alpha": 0.8})
                panel.hist(
                    part, bins, label=name, rwidth=0.86, edgecolor=INK, linewidth=0.6, **look
                )
            # An infinite threshold marks no score.
            if threshold is not None and np.isfinite(threshold):
                panel.axvline(threshold, color=INK, linestyle="--", linewidth=1, label="threshold")
            counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
            panel.set_title(f"{title}: {counts}", loc="left")
            panel.set_ylabel("clips")
            panel.yaxis.get_major_locator().set_params(integer=True)
        # One legend serves all panels, with each name once.
        named = {}
        for panel in axes[:, 0]:
            handles, labels = panel.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
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
            # Clips of one score make one step, because their order is arbitrary.
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
        # Known groups in a fixed order: test clips are drawn over training clips, anomalies last.
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
            # A line of one point would be invisible, so few points get markers.
            panel.plot(*np.transpose(points), marker="." if len(points) < 30 else "")
            # Beside a panel this low, a long name would be cut.
            panel.set_title(units.get(name, name), loc="left")
        axes[-1, 0].set_xlabel("step")
    return svg[0]


def filter_shapes(bank: Float[np.ndarray, "f k"], sample_rate: int, *, every: int = 8) -> str:
    """Returns a plot of every `every`-th filter, above the density of all filters."""
    hz = np.linspace(0, sample_rate / 2, bank.shape[1]) / 1000
    with svg_axes(3.2, 2, sharex=True) as ((shapes, density), svg):
        for number, weights in enumerate(bank[::every]):
            # Each filter without its zeros, which would be most of the file.
            seen = np.flatnonzero(weights > 1e-3 * bank.max())
            if len(seen):
                # A zero on each side closes the shape.
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


def _short(name: str) -> str:
    """Returns a name for an axis, without its middle if it is long."""
    half = LONGEST_LABEL // 2
    return name if len(name) <= LONGEST_LABEL else f"{name[: half - 1]}…{name[-half:]}"
