"""Draws a heat map for a notebook, as an HTML fragment that follows light and dark."""

import html

import numpy as np

from asd_jax.reporting import spectrograms

# A notebook does not have the style sheet of page.html, whose colours the plots name.
_STYLE = (
    "--ink: light-dark(#1a1d21, #eceff3); --faint: light-dark(#6b7280, #9aa4b1); "
    "--normal: light-dark(#0b62a8, #6cb6f5); --anomaly: light-dark(#c2410c, #ff9a5c); "
    "--third: light-dark(#4d7c0f, #a3d65c); max-width: 34rem"
)


def heat_map_html(heat) -> str:
    """Returns a figure of a `HeatMap`, as `heat_map_svg` draws it."""
    caption = html.escape(f"from {heat.start:.2f} s on; nearest normal sound: {heat.nearest}")
    svg = heat_map_svg(heat)
    return f'<figure style="{_STYLE}">{svg}<figcaption>{caption}</figcaption></figure>'


def heat_map_svg(heat) -> str:
    """Returns a picture of a `HeatMap`: the window's spectrogram, and below it the heat map."""
    # The front end takes a batch, here of one window.
    energies = np.asarray(heat.front_end.log_energies(heat.window[None]))[0]
    return spectrograms.spectrograms(
        energies,
        None,
        heat.front_end.filter_centres,
        decibels=spectrograms.decibel_range(energies),
        heat=heat.values,
    )
