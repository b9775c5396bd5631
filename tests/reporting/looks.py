"""Says in text how Matplotlib's figures look, to compare them with tests/golden/plots.txt.

After a change of a plot that is wanted, and was looked at, the file is written again:

    PYTHONPATH=.:tests python -m reporting.looks > tests/golden/plots.txt
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

GOLDEN = Path(__file__).parents[1] / "golden" / "plots.txt"


def golden_looks() -> dict[str, list[str]]:
    """Returns {name of a plot: lines of text}, as they are kept."""
    parts = re.findall(r"^# (.*)\n((?:[^#].*\n)*)", GOLDEN.read_text(), re.MULTILINE)
    return {name: lines.splitlines() for name, lines in parts}


def looks(figure: Figure) -> Iterator[str]:
    """Returns lines of text: what is drawn, where, and in which look; in no unit of the screen."""
    grid = figure.axes[0].get_gridspec()
    margins = [getattr(grid, side) for side in ("left", "right", "bottom", "top", "hspace")]
    yield f"figure of {_numbers(figure.get_size_inches())} inches, margins {_numbers(margins)}"
    bottom = getattr(figure, "_supxlabel", None)
    if bottom:
        yield f"  below: {bottom.get_text()!r} {bottom.get_fontsize():g}"
    for legend in figure.legends:
        above = legend.get_window_extent().y0 >= max(a.bbox.y1 for a in figure.axes)
        yield f"  {_legend(legend)} {'above' if above else 'inside'}"
    for axes in figure.axes:
        yield from _axes(axes)


def _axes(axes: Axes) -> Iterator[str]:
    shared = axes.get_shared_x_axes().joined(axes, axes.figure.axes[-1])
    spines = [side for side, spine in axes.spines.items() if spine.get_visible()]
    frame = axes.spines["left"].get_edgecolor()
    yield (
        f"axes x {_numbers(axes.get_xlim())}{' of the last' if shared else ''}, "
        f"y {_numbers(axes.get_ylim())}, spines {spines} {_colour(frame)}"
    )
    for name, text in (
        ("x", axes.xaxis.label),
        ("y", axes.yaxis.label),
        ("title", axes.title),
        ("title on the left", axes._left_title),
    ):
        if text.get_text():
            look = f"{text.get_fontsize():g} {_colour(text.get_color())}"
            yield f"  {name}: {text.get_text()!r} {look}"
    # Matplotlib chooses the others by the size of its letters.
    if isinstance(axes.yaxis.get_major_locator(), FixedLocator):
        names = [label.get_text() for label in axes.get_yticklabels()]
        yield f"  ticks {_numbers(axes.get_yticks())} {names}"
    else:
        whole = all(float(place).is_integer() for place in axes.get_yticks())
        yield f"  ticks {'at whole numbers' if whole else ''}"
    for axis in (axes.xaxis, axes.yaxis):
        tick = axis.get_major_ticks(1)[0]
        look = f"{tick.label1.get_fontsize():g} {_colour(tick.label1.get_color())}"
        yield f"  tick labels {look}, marks {_colour(tick.tick1line.get_color())}"
    if legend := axes.get_legend():
        own = legend.get_window_extent()
        right = own.x1 + own.x0 > axes.bbox.x0 + axes.bbox.x1
        low = own.y1 + own.y0 < axes.bbox.y0 + axes.bbox.y1
        yield f"  {_legend(legend)} {'low' if low else 'high'} {'right' if right else 'left'}"
    for line in axes.lines:
        yield f"  line {_points(line.get_xydata())} {_line_look(line)}"
    for look, group in itertools.groupby(axes.patches, _patch_look):
        boxes = np.array([_box(patch) for patch in group])
        yield f"  {len(boxes)} patches {_points(boxes)} {look}"
    for collection in axes.collections:
        yield f"  collection {_collection(collection)}"
    for image in axes.images:
        shown = np.asarray(image.get_array())
        colours = f"{image.get_cmap().name} of {image.get_cmap().N} {_numbers(image.get_clim())}"
        yield (
            f"  image {shown.shape} {_numbers(image.get_extent())} {colours} {image.origin} "
            f"{image.get_interpolation()} aspect {axes.get_aspect()}"
        )
        yield f"    {_numbers(shown[[0, 0, -1, -1], [0, -1, 0, -1]])} mean {shown.mean():.4g}"


def _legend(legend) -> str:
    names = [text.get_text() for text in legend.get_texts()]
    size = legend.get_texts()[0].get_fontsize()
    return f"legend {names} in {legend._ncols} columns, {size:g}, frame {legend.get_frame_on()}"


def _numbers(values) -> str:
    return " ".join("-" if value is None else f"{value + 0.0:.4g}" for value in values)


def _points(points) -> str:
    """Returns a few points in full, of many their number, the ends and the mean."""
    points = np.asarray(points, float)
    if len(points) > 6:
        shown = [points[0], points[-1], points.mean(0)]
        return f"{len(points)}: " + " | ".join(map(_numbers, shown))
    return " | ".join(map(_numbers, points))


def _colour(colour) -> str:
    return to_hex(colour, keep_alpha=True)


def _line_look(line) -> str:
    return (
        f"{_colour(line.get_color())} {line.get_linestyle()!r} {line.get_linewidth():g} "
        f"{line.get_drawstyle()} marker {line.get_marker()!r} {line.get_markersize():g} "
        f"{line.get_fillstyle()}"
    )


def _box(patch) -> tuple[float, ...]:
    return patch.get_patch_transform().transform_path(patch.get_path()).get_extents().extents


def _patch_look(patch) -> str:
    return (
        f"{_colour(patch.get_facecolor())} edge {_colour(patch.get_edgecolor())} "
        f"{patch.get_linewidth():g} hatch {patch.get_hatch()} filled {patch.get_fill()}"
    )


def _collection(collection) -> str:
    colours = [*map(_colour, collection.get_facecolor()), "edge"]
    colours += [*map(_colour, collection.get_edgecolor()), _numbers(collection.get_linewidths())]
    points = np.concatenate([path.vertices for path in collection.get_paths()])
    sizes = _numbers(collection.get_sizes()) if hasattr(collection, "get_sizes") else ""
    return f"{_points(points)} at {_points(collection.get_offsets())} {sizes} {' '.join(colours)}"


if __name__ == "__main__":
    import conftest  # noqa: F401 - the same settings as in the tests
    from reporting.drawn import PLOTS, drawn

    for name in PLOTS:
        print(f"# {name}", *looks(drawn(name)[1]), sep="\n")
