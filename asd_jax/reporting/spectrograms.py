"""Draws spectrograms with the attention and the oddness of each cell."""

import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import DECIBELS
from asd_jax.features.settings import HOP_MS
from asd_jax.reporting.svg import SHADES, svg_axes

_IMAGE_COLUMNS = 256  # largest width of a spectrogram; longer clips are averaged


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
    decibels: tuple[float, float],
    heat: Float[np.ndarray, "t f"] | None = None,
) -> str:
    """Returns energies, attention weights and heat above each other, over time in s.

    Weights and heat are left out if they are None.

    Args:
        log_energies: natural-log energies of the filter bank.
        weights: SimAM weights, 0.62 to 1, or None.
        filter_hz: centre frequency of each filter, for the axis.
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
        # The floor of 1 keeps small deviations of normal clips dark.
        top = max(1.0, float(np.quantile(heat, 0.98)))
        title = f"oddness: dark 0, bright {top:.1f} or more standard deviations"
        panels.append((heat, "inferno", (0.0, top), title))
    # The margins are fixed, because computing them takes longer than drawing.
    height = 0.5 + 1.45 * len(panels)
    margins = {
        "left": 0.12,
        "right": 0.98,
        # 0.45 and 0.25 inches for labels and titles, whatever the height of the plot.
        "bottom": 0.45 / height,
        "top": 1 - 0.25 / height,
        "hspace": 0.22,
    }
    with svg_axes(height, len(panels), margins=margins, sharex=True, squeeze=False) as (axes, svg):
        for panel, (values, colours, limits, title) in zip(axes[:, 0], panels, strict=True):
            _image(panel, values, colours, limits)
            _filter_axis(panel, filter_hz)
            panel.set_title(title, loc="left")
        axes[-1, 0].set_xlabel("time (s)")
    return svg[0]


def _image(axes, values, colours, limits):
    # Matplotlib takes half a second to import, so only code that draws imports it.
    import matplotlib

    frames, filters = values.shape
    pooled = -(-frames // _IMAGE_COLUMNS)
    edges = np.arange(0, frames, pooled)
    # The last column may average fewer frames than the others.
    values = np.add.reduceat(values, edges) / np.diff(np.r_[edges, frames])[:, None]
    axes.imshow(
        values.T,
        cmap=matplotlib.colormaps[colours].resampled(SHADES),
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
        interpolation="none",
        # Half a row more on each side makes a filter's number the centre of its row.
        extent=(0, frames * (HOP_MS / 1000), -0.5, filters - 0.5),
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
