"""One plot of each kind."""

import numpy as np

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
PLOTS = {
    "bars": (
        lambda: plots.auc_bars({"fan": {"auc_source": Interval(0.7, 0.6, 0.8)}}),
        ["fan", "AUC source", "%"],
    ),
    "histogram": (
        lambda: plots.score_histograms(
            {"source domain": {"normal": SCORE, "anomaly": SCORE + 1}},
            threshold=0.5,
            unit="standard deviations",
        ),
        [
            "source domain: 60 normal, 60 anomaly",
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
    "differences": (
        lambda: plots.difference_bars(
            {"the longest name that is shown": Interval(0.1, -0.1, 0.2)},
            "a reference of a long name, too",
        ),
        ["minus a reference of a long name, too", "percentage points (hollow: may be chance)"],
    ),
    "roc": (
        lambda: plots.roc_curves({"source": (LABEL, SCORE)}),
        ["pAUC region (up to 0.1)", "chance", "source"],
    ),
    "map": (
        lambda: plots.embedding_map(
            NOISE[:3, :2], ["normal, source", "anomaly, target", "odd"], ["x", "y"]
        ),
        ["normal, source (1)", "anomaly, target (1)", "odd (1)"],
    ),
    "training": (
        lambda: plots.training_curves(ROWS),
        ["loss (nats)", "accuracy (fraction)", "learning rate", "step"],
    ),
    "filters": (
        lambda: plots.filter_shapes(filter_bank("mel"), 16000),
        ["weight", "frequency (kHz)"],
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
}
