import dataclasses

from scoring.machines import machine

from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.comparison import compare_back_ends
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.results import results


def test_the_grid_equals_scoring_each_combination_by_itself():
    machines = {
        "fan": machine(shape=(2, 6), held_out=5),
        "pump": machine(shape=(2, 6), held_out=5, seed=1),
    }
    scoring = Scoring(components=4)
    pairs = {"knn": "test", "smote": "held_out", "mahalanobis": "none", "pca_residual": "train"}
    grid, notes = compare_back_ends(machines, scoring, 2024, back_ends=list(pairs))
    assert list(grid) == list(pairs) and notes == []
    for back_end, mode in pairs.items():
        options = dataclasses.replace(scoring, back_end=back_end, normalization=mode)
        scored = {name: score_machine(embeddings, options) for name, embeddings in machines.items()}
        assert grid[back_end][mode] == results(scored, options, 2024)["official_score"]


def test_the_grid_leaves_out_what_cannot_be_and_says_why():
    grid, notes = compare_back_ends({"fan": machine()}, back_ends=["knn", "band_matching"])
    assert grid["knn"]["held_out"] is None and grid["knn"]["train"] is not None
    assert set(grid["band_matching"].values()) == {None}
    assert len(notes) == 2 and all("machine fan: " in note for note in notes)
    assert notes[1].startswith("band_matching: machine fan: section 00: band_matching: needs")


def test_back_ends_are_compared_by_the_rule_of_the_year():
    asked = ["knn", "mahalanobis"]
    grid = compare_back_ends({"fan": machine()}, year=2020, back_ends=asked)[0]
    scored = {"fan": score_machine(machine())}
    assert grid["knn"]["train"] == results(scored, Scoring(), 2020)["official_score"]
    default = compare_back_ends({"fan": machine()}, back_ends=["knn"])[0]
    assert default["knn"]["train"] == results(scored, Scoring(), 2024)["official_score"]
