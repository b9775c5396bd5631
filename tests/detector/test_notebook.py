"""Claims about a heat map in a notebook."""

import dataclasses
import re

import numpy as np
from detectors import FAULTY, HEALTHY

from asd_jax.detector.notebook import heat_map_html


def test_a_notebook_shows_two_pictures_and_where_they_are_from(plain):
    seen = plain.explain(np.concatenate([HEALTHY[0], FAULTY[0]]))
    shown = heat_map_html(dataclasses.replace(seen, nearest="<a>.wav"))
    assert shown == dataclasses.replace(seen, nearest="<a>.wav")._repr_html_()
    assert "from 2.00 s on; nearest normal sound: &lt;a&gt;.wav</figcaption>" in shown
    assert shown.count("<svg") == 1 and shown.count("<image") == 2
    # Every colour that the picture names is one of the figure's own.
    named = set(re.findall(r"var\((--\w+)\)", shown))
    assert named and named <= set(re.findall(r"(--\w+): light-dark", shown))
