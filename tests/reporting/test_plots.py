import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from asd_jax.features.filter_bank import filter_bank
from asd_jax.reporting import plots, spectrograms
from asd_jax.runtime.printable import printable
from asd_jax.scoring.intervals import Interval

RNG = np.random.default_rng(0)
LABEL, SCORE = RNG.integers(0, 2, 60), RNG.normal(size=60)
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
            {"source": {"normal": SCORE, "anomaly": SCORE + 1}},
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
            hop_seconds=0.01,
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


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_names_its_units_follows_the_theme_and_fits_a_phone(name):
    draw, words = PLOTS[name]
    svg = draw()
    text = [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]
    assert [word for word in words if word not in " ".join(filter(None, text))] == []
    colours = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert not colours, f"colours that do not follow the theme: {colours}"
    assert "var(--ink)" in svg and float(re.search(r'width="([\d.]+)pt"', svg)[1]) < 360
    assert svg == draw()


def test_no_two_plots_share_a_name():
    svgs = [draw() for draw, _ in PLOTS.values()]
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in svgs]
    assert len(set.union(*names)) == sum(map(len, names)) > 0
    for svg in svgs:
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(
            re.findall(r'\bid="([^"]+)"', svg)
        )


def test_a_spectrogram_is_small_enough_for_many_on_a_page():
    assert len(PLOTS["spectrograms"][0]()) < 90_000  # noise, the worst case: 67,900


@pytest.mark.parametrize(
    "name", ["$\\foo$", "$x$ and $", "a_b^c", "\udcff", "\x1b[31m", "<b>&amp;", "\0"]
)
def test_names_are_drawn_as_they_are(name):
    value = Interval(0.7, 0.6, 0.8)
    for svg in (
        plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}}),
        plots.curves([1, 2], {name: [1.0, 2.0]}, "x", "y"),
    ):
        words = {text.text for text in ET.fromstring(svg).iter() if text.tag.endswith("text")}
        assert printable(name) in words


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["ファン 00", "🔥", "a" * 255 + " 00"])
def test_long_names_and_letters_of_other_fonts_leave_room_and_no_warning(name):
    value = Interval(0.7, 0.6, 0.8)
    svg = plots.auc_bars({name: {"auc_source": value}, "fan": {"auc_source": value}})
    words = {text.text for text in ET.fromstring(svg).iter() if text.tag.endswith("text")}
    assert name in words or {"a" * 15 + "…" + "a" * 13 + " 00"} <= words
