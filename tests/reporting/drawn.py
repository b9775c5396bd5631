"""Plots of each kind, with what must be legible in them, and what was drawn."""

import functools
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure

from asd_jax.features.filter_bank import filter_bank
from asd_jax.reporting import plots, spectrograms
from asd_jax.scoring.intervals import Interval

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 2, 60)
SCORE = RNG.normal(size=60)
NOISE = RNG.normal(size=(998, 128))
ROWS = [
    {"step": n, "loss": 1 / n, "accuracy": 0.5, "learning_rate": 1e-3, "clips_per_second": 9.0}
    for n in (1, 2, 3)
]
LONG_ROWS = [
    {"step": n, "loss": n / 10, "target_spread": 0.5, "learning_rate": 1e-3} for n in range(1, 31)
]
LONG_ROWS[0] = {"step": 1, "loss": 0.1, "learning_rate": 0.0}
GROUPS = [
    f"{what}, {domain}"
    for what in ("training", "normal", "anomaly")
    for domain in ("source", "target")
]
PLOTS = {
    "bars": (
        lambda: plots.auc_bars(
            {
                "fan": {
                    "auc_source": Interval(0.7, 0.6, 0.85),
                    "auc_target": Interval(0.5, 0.55, 0.6),
                    "pauc": Interval(0.6, 0.5, 0.7),
                },
                "pump": {"pauc": Interval(0.4, 0.3, 0.5), "auc": Interval(0.9, 0.8, 1.0)},
            }
        ),
        ["fan", "pump", "AUC source", "AUC target", "pAUC", "%"],
    ),
    "histogram": (
        lambda: plots.score_histograms(
            {
                "source domain": {"normal": SCORE, "anomaly": SCORE + 1},
                "target domain": {"normal": SCORE[:3], "unlabelled": SCORE[:2]},
            },
            threshold=0.5,
            unit="standard deviations",
        ),
        [
            "source domain: 60 normal, 60 anomaly",
            "target domain: 3 normal, 2 unlabelled",
            "threshold",
            "anomaly score (standard deviations)",
            "clips",
        ],
    ),
    "histogram of a detector": (
        lambda: plots.score_histograms(
            {"sounds": {"learned from": SCORE, "called anomalous": SCORE + 1}},
            threshold=None,
            unit="standard deviations of normal sounds",
        ),
        ["sounds: 60 learned from, 60 called anomalous", "learned from", "called anomalous"],
    ),
    "histogram without a threshold": (
        lambda: plots.score_histograms({"": {"normal": SCORE}}, threshold=np.inf, unit="dB"),
        ["60 normal", "anomaly score (dB)"],
    ),
    "differences": (
        lambda: plots.difference_bars(
            {
                "the longest name that is shown": Interval(0.1, -0.1, 0.2),
                "better": Interval(0.2, 0.1, 0.3),
                "worse": Interval(-0.2, -0.3, -0.1),
                "from none": Interval(0.0, 0.0, 0.1),
                "to none": Interval(-0.1, -0.2, 0.0),
            },
            "a reference of a long name, too",
        ),
        ["minus a reference of a long name, too", "percentage points (hollow: may be chance)"],
    ),
    "roc": (
        lambda: plots.roc_curves(
            {"source": (LABEL, SCORE), "tied": (LABEL, np.round(SCORE) - 2 * LABEL)},
        ),
        ["pAUC region (up to 0.1)", "chance", "source", "tied"],
    ),
    "map": (
        lambda: plots.embedding_map(NOISE[:8, :2], [*GROUPS, "odd", "odd"], ["x", "y"]),
        ["normal, source (1)", "anomaly, target (1)", "odd (2)"],
    ),
    "curves": (
        lambda: plots.curves([1, 2], {name: [1.0, n] for n, name in enumerate("abcde")}, "x", "y"),
        ["a", "e", "x", "y"],
    ),
    "training": (
        lambda: plots.training_curves(ROWS),
        ["loss (nats)", "accuracy (fraction)", "learning rate", "step"],
    ),
    "long training": (
        lambda: plots.training_curves(LONG_ROWS),
        ["loss (nats)", "target_spread", "learning rate", "step"],
    ),
    "filters": (
        lambda: plots.filter_shapes(filter_bank("mel"), 16000),
        ["weight", "frequency (kHz)", "every 8th of 128 filters"],
    ),
    "spectrograms": (
        lambda: spectrograms.spectrograms(
            NOISE - 6,
            0.81 + NOISE / 20,
            np.linspace(20, 8000, 128),
            decibels=(-40.0, -10.0),
        ),
        [
            "time (s)",
            "kHz",
            "energy: dark -40 dB, bright -10 dB",
            "SimAM weight: dark 0.62, bright 1",
        ],
    ),
    "spectrogram of what is odd": (
        lambda: spectrograms.spectrograms(
            NOISE[:40, :28],
            None,
            np.geomspace(250, 8000, 28),
            decibels=(-40.0, -10.0),
            heat=np.linspace(0, 10, 40 * 28).reshape(40, 28),
        ),
        ["oddness: dark 0, bright 9.8 or more standard deviations"],
    ),
}


@functools.cache
def drawn(name: str) -> tuple[str, Figure]:
    """Returns the SVG text of a plot, and Matplotlib's figure of it."""
    figures = []
    save = Figure.savefig

    def kept(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    with patch.object(Figure, "savefig", kept):
        svg = PLOTS[name][0]()
    (figure,) = figures
    return svg, figure
