"""The sections of a run's page: which numbers and plots they hold."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from asd_jax.features.front_end import FrontEnd
from asd_jax.reporting import plots
from asd_jax.reporting.page import Plot, Table
from asd_jax.reporting.sections import (
    ScoredSection,
    called,
    filter_section,
    machine_section,
    mean_section,
    project,
    score_section,
    training_section,
)
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.intervals import section_intervals

RNG = np.random.default_rng(0)
FILES = np.arange(32).astype(str)
SECTION = np.repeat(["00", "01"], 16)
SPLIT = np.tile(["train", "test", "test", "test"], 8)
DOMAIN = np.tile(np.repeat(["source", "target"], 4), 4)
LABEL = np.tile([0, 0, 1, 1, 0, 0, 1, -1], 4)
EMBEDDINGS = Embeddings(
    RNG.normal(size=(32, 2, 3)).astype(np.float32),
    FILES,
    SECTION,
    SPLIT,
    DOMAIN,
    LABEL,
    np.full(32, ""),
    axes=("clip", "band", "embedding"),
)
TEST = EMBEDDINGS[SPLIT == "test"]
SCORE = np.round(RNG.normal(size=24) + TEST.label, 1)
SCORES = MachineScores(
    TEST, SCORE, (SCORE > 1).astype(int), {"00": 0.5, "01": float(SCORE[12])}, ()
)
SCORED = {"fan": SCORES}


@pytest.fixture
def drawn(monkeypatch):
    """{name of a plot: (arguments, keyword arguments)} of what is drawn."""
    seen = {}

    def recorder(name):
        def draw(*arguments, **options):
            seen[name] = (arguments, options)
            return f"<svg {name}>"

        return draw

    for name in (
        "auc_bars",
        "score_histograms",
        "roc_curves",
        "embedding_map",
        "training_curves",
        "filter_shapes",
    ):
        monkeypatch.setattr(plots, name, recorder(name))
    return seen


FOUND = {
    "year": 2024,
    "machines": {
        "fan": {
            "01": {"pauc": 0.5, "auc_source": 0.75, "f1_source": 0.3},
            "00": {"auc_source": 0.25},
        }
    },
}


def test_scores_stand_beside_those_of_the_filter_bank_in_the_order_of_the_tables(drawn):
    baseline = {"machines": {"fan": {"01": {"auc_source": 0.6}}}}
    section = score_section(FOUND | {"filter_bank_baseline": baseline}, SCORED)
    table, bars = section.parts
    assert table.columns == [
        "machine",
        "AUC source",
        "pAUC",
        "filter bank AUC source",
        "filter bank pAUC",
    ]
    assert table.rows == [
        ["fan 01", "75.00", "50.00", "60.00", "-"],
        ["fan 00", "25.00", "-", "-", "-"],
    ]
    assert not table.folded and bars.svg == "<svg auc_bars>" and section.title == "Scores"
    ((values,), _) = drawn["auc_bars"]
    assert list(values) == ["fan 01", "fan 00"]
    for name, intervals in values.items():
        here = TEST.section == name.split()[1]
        assert intervals == section_intervals(
            TEST.domain[here], TEST.label[here], SCORE[here], 2024
        )


def test_scores_without_a_filter_bank_have_no_columns_for_it(drawn):
    table, _ = score_section(FOUND, SCORED).parts
    assert table.columns == ["machine", "AUC source", "pAUC"]
    assert table.rows == [["fan 01", "75.00", "50.00"], ["fan 00", "25.00", "-"]]


def test_where_no_section_has_a_score_the_page_says_so(drawn):
    section = score_section({"year": 2024, "machines": {"fan": {}}}, SCORED)
    assert section.parts == [] and len(section.text) == 1 and not drawn


def test_each_mean_over_seeds_has_its_deviation_beside_it():
    deviation = {"machines": {"fan": {"01": {"pauc": 0.01, "auc_source": 0.02}, "00": {}}}}
    (table,) = mean_section(FOUND | {"standard_deviation": deviation}).parts
    assert table.columns == ["machine", "AUC source", "deviation", "pAUC", "deviation"]
    assert table.rows == [
        ["fan 01", "75.00", "2.00", "50.00", "1.00"],
        ["fan 00", "25.00", "-", "-", "-"],
    ]


def test_a_section_of_a_machine_has_its_own_clips_scores_and_threshold():
    one = ScoredSection.of("fan", "01", EMBEDDINGS, SCORES)
    assert (one.machine, one.section, one.threshold) == ("fan", "01", SCORE[12])
    assert one.embeddings.files.tolist() == FILES[16:].tolist()
    assert one.clips.files.tolist() == TEST.files[12:].tolist()
    np.testing.assert_array_equal(one.score, SCORE[12:])


def test_a_machines_section_shows_scores_roc_map_and_clips(drawn):
    one = ScoredSection.of("fan", "01", EMBEDDINGS, SCORES)
    section = machine_section(one, "dB", "pca", [("a.csv", "../a.csv")])
    assert section.title == "fan 01" and section.links == [("a.csv", "../a.csv")]
    assert [part.svg for part in section.parts[:3]] == [
        "<svg score_histograms>",
        "<svg roc_curves>",
        "<svg embedding_map>",
    ]
    (parts,), options = drawn["score_histograms"]
    assert options == {"threshold": SCORE[12], "unit": "dB"}
    domain = TEST.domain[12:]
    label = TEST.label[12:]
    score = SCORE[12:]
    kinds = {"normal": 0, "anomaly": 1, "unlabelled": -1}
    assert {d: list(of) for d, of in parts.items()} == {
        "source domain": ["normal", "anomaly"],
        "target domain": ["normal", "anomaly", "unlabelled"],
    }
    for name, of in parts.items():
        for kind, values in of.items():
            own = (domain == name.split()[0]) & (label == kinds[kind])
            np.testing.assert_array_equal(values, score[own])
    ((curves,), _) = drawn["roc_curves"]
    assert list(curves) == ["source domain", "target domain"]
    for name, (labels, scores) in curves.items():
        # Anomalies of both domains count for each.
        own = (label == 1) | ((domain == name.split()[0]) & (label == 0))
        np.testing.assert_array_equal(labels, label[own])
        np.testing.assert_array_equal(scores, score[own])
    (points, groups, axes), _ = drawn["embedding_map"]
    expected, titles, _ = project(one.embeddings, "pca")
    np.testing.assert_array_equal(points, expected)
    assert axes == titles
    assert groups[:8] == [
        "training, source",
        "normal, source",
        "anomaly, source",
        "anomaly, source",
        "training, target",
        "normal, target",
        "anomaly, target",
        "unlabelled, target",
    ]


def test_the_table_of_clips_begins_with_the_highest_score_and_calls_those_above_the_threshold(
    drawn,
):
    clips = EMBEDDINGS[[1, 2, 7, 5]]
    scored = ScoredSection("fan", "00", clips, clips, np.array([1.0, 2.0, 1.0, 0.9994]), 1.0)
    table = machine_section(scored, "dB", "pca").parts[-1]
    assert table.columns == ["clip", "domain", "truth", "score", "decision"] and table.folded
    # Equal scores stay in the order of the clips.
    assert table.rows == [
        ["2", "source", "anomaly", "2.000", "anomalous"],
        ["1", "source", "normal", "1.000", "normal"],
        ["7", "target", "unlabelled", "1.000", "normal"],
        ["5", "target", "normal", "0.999", "normal"],
    ]
    many = EMBEDDINGS[np.tile(np.arange(32), 2)]
    equal = ScoredSection("fan", "00", many, many, np.zeros(64), 1.0)
    table = machine_section(equal, "dB", "pca").parts[-1]
    assert [row[0] for row in table.rows] == [*FILES] * 2
    assert called(1.0, 1.0) == "normal" and called(1.1, 1.0) == "anomalous"


def test_clips_of_one_kind_have_no_roc(drawn):
    clips = TEST[TEST.label != 1]
    scored = ScoredSection("fan", "00", clips, clips, np.zeros(len(clips.files)), 1.0)
    parts = machine_section(scored, "dB", "pca").parts
    assert [type(part) for part in parts] == [Plot, Plot, Table] and "roc_curves" not in drawn


def test_the_map_is_that_of_the_two_largest_components():
    points, titles, caption = project(EMBEDDINGS, "pca")
    rows = EMBEDDINGS.vectors.reshape(32, 6).astype(np.float64)
    rows = rows - rows.mean(0)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    # The sign of a component is arbitrary.
    np.testing.assert_allclose(np.abs(points), np.abs(rows @ directions[:2].T), atol=1e-12)
    shares = 100 * sizes**2 / (sizes**2).sum()
    assert titles == [f"component {n} ({shares[n - 1]:.0f} % of the variance)" for n in (1, 2)]
    assert "components" in caption


def test_a_map_of_one_component_is_a_line():
    one = Embeddings(
        RNG.normal(size=(32, 1)), FILES, SECTION, SPLIT, DOMAIN, LABEL, np.full(32, "")
    )
    points, titles, _ = project(one, "pca")
    assert (points[:, 1] == 0).all() and points[:, 0].std() > 0.1
    assert titles == [
        "component 1 (100 % of the variance)",
        "component 2 (0 % of the variance)",
    ]


@pytest.mark.parametrize(("clips", "neighbours"), [(3, 2), (10, 9), (16, 15), (32, 15)])
def test_umap_is_seeded_and_has_fewer_neighbours_than_there_are_clips(
    monkeypatch, clips, neighbours
):
    seen = []

    class UMAP:
        def __init__(self, *arguments, **options):
            seen.append((arguments, options))

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    points, titles, _ = project(EMBEDDINGS[:clips], "umap")
    options = {"metric": "cosine", "init": "pca", "random_state": 0, "n_jobs": 1}
    assert seen == [((neighbours,), options)] and titles == ["UMAP 1", "UMAP 2"]
    np.testing.assert_array_equal(points, EMBEDDINGS.vectors[:clips].reshape(clips, -1)[:, :2])


def test_the_filters_of_the_front_end_are_drawn(drawn):
    front_end = FrontEnd("mel", sample_rate=8000, high_hz=4000.0, bins=32)
    (plot,) = filter_section(front_end).parts
    (filters, rate), options = drawn["filter_shapes"]
    np.testing.assert_array_equal(filters, front_end.filters)
    assert rate == 8000 and not options and "mel (o-FB)" in plot.caption


def test_the_metrics_of_the_training_are_drawn(drawn):
    rows = [{"step": 1, "loss": 2.0}]
    assert training_section(rows).parts[0].svg == "<svg training_curves>"
    assert drawn["training_curves"] == ((rows,), {})


@pytest.mark.slow  # UMAP compiles itself
def test_umap_keeps_neighbours_together_and_is_the_same_again():
    blob = np.repeat([0, 1], 20)
    vectors = np.random.default_rng(0).normal(size=(40, 8)) + 10 * np.eye(8)[blob]
    columns = [np.full(40, "00"), np.full(40, "test"), np.full(40, "source"), blob, np.full(40, "")]
    embeddings = Embeddings(vectors.astype(np.float32), np.arange(40).astype(str), *columns)
    points, _, caption = project(embeddings, "umap")
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(40)
    assert (blob[distance.argmin(1)] == blob).all() and "UMAP" in caption
    assert (project(embeddings, "umap")[0] == points).all()
