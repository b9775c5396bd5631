"""The choice of a back end from normal clips alone."""

import dataclasses
import re

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import SectionScorer, fit_sections
from asd_jax.scoring.automatic import _features, candidates, chosen_scoring, pseudo_auc
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring

EUCLIDEAN = Scoring(distance="euclidean", normalization="none")


def normal_clips(vectors, domain, attribute, section="00"):
    n = len(vectors)
    columns = [np.full(n, section), np.full(n, "train"), np.array(domain), np.zeros(n, int)]
    files = np.array([f"{i:03d}.wav" for i in range(n)])
    return Embeddings(np.asarray(vectors, float), files, *columns, np.array(attribute))


def feature(every, x):
    """The scores of the pseudo-anomalies of mixed dimensions, of clips on a line."""
    rows = np.random.default_rng(0).integers(len(every), size=(len(every), 2))
    return [np.abs(np.array(x) - every[row]).min() for row in rows[:, 0]]


def share_of_wins(pseudo, normal):
    return np.mean([(p > n) + (p == n) / 2 for p in pseudo for n in normal])


LINE = [0.0, 1.0, 3.0, 7.0]


def on_a_line(source, target, attribute, **options):
    vectors = [[x, 0.0] for x in (*source, *target)]
    domain = ["source"] * len(source) + ["target"] * len(target)
    return normal_clips(vectors, domain, list(attribute), **options)


OTHER = on_a_line([0.5, 30.0], [], "zz")


def test_the_diverse_pseudo_anomalies_are_those_of_the_paper():
    """Every set against a loop: feature is empty where all clips agree in each dimension."""
    own = on_a_line(LINE, [20.0, 21.5], "aabbcc")
    normal = [1, 1, 2, 4, 1.5, 1.5]  # to the nearest other clip of the own domain
    x = np.array(LINE)
    cross_domain = [min(abs(x - t)) for t in (20, 21.5)] + [20 - s for s in x]
    cross_class = [0.5, 8.5]
    # a = 0, 1 against b = 3, 7 and back; the minimum over domains; target has one attribute
    cross_attribute = [3, 2, 2, 6]
    every = np.array([*x, 20, 21.5])
    pseudo = [*feature(every, every), *cross_domain, *cross_class, *cross_attribute]
    expected = share_of_wins(pseudo, normal)
    assert pseudo_auc(own, EUCLIDEAN, [OTHER]) == pytest.approx(expected, abs=1e-12)
    # Test clips of either machine are not looked at.
    test = dataclasses.replace(OTHER, split=np.full(2, "test"))
    more = Embeddings.joined([own, test])
    of_other = [Embeddings.joined([OTHER, test])]
    assert pseudo_auc(more, EUCLIDEAN, of_other) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": np.ones((2, 3))},
        {"vectors": np.ones((2, 1, 2)), "axes": ("clip", "band", "embedding")},
    ],
)
def test_machines_whose_embeddings_have_another_shape_are_no_pseudo_anomalies(change):
    own = on_a_line(LINE, [20.0, 21.5], "aabbcc")
    alone = pseudo_auc(own, EUCLIDEAN)
    assert alone != pseudo_auc(own, EUCLIDEAN, [OTHER])
    assert alone == pseudo_auc(own, EUCLIDEAN, [dataclasses.replace(OTHER, **change)])


def test_layers_are_no_bands():
    parts = np.array(LINE)[:, None, None] + np.array([[0.0, 0], [0, 5]])
    own = dataclasses.replace(
        on_a_line(LINE, [], "aabb"), vectors=parts, axes=("clip", "band", "embedding")
    )
    layered = dataclasses.replace(own, vectors=parts + 100, axes=("clip", "layer", "embedding"))
    assert pseudo_auc(own, EUCLIDEAN, [layered]) == pseudo_auc(own, EUCLIDEAN)


def test_a_clip_that_cannot_be_left_out_counts_as_more_anomalous_than_all():
    own = on_a_line(LINE, [20.0], "aabbc")
    every = np.array([*LINE, 20])
    pseudo = [*feature(every, every), *(20 - np.array(LINE)), 13, *[3, 2, 2, 6]]
    expected = share_of_wins(pseudo, [1, 1, 2, 4, 1000])
    assert pseudo_auc(own, EUCLIDEAN) == pytest.approx(expected, abs=1e-12)


def test_one_bank_of_both_domains_knows_attributes_but_no_other_domain():
    own = on_a_line(LINE, [20.0, 21.5], "aabbcc")
    every = np.array([*LINE, 20, 21.5])
    pseudo = [*feature(every, every), *[3, 2, 2, 6, 13, 14.5]]
    expected = share_of_wins(pseudo, [1, 1, 2, 4, 1.5, 1.5])
    pooled = dataclasses.replace(EUCLIDEAN, domains="pooled")
    assert pseudo_auc(own, pooled) == pytest.approx(expected, abs=1e-12)
    nameless = dataclasses.replace(own, domain=np.full(6, "unknown"))
    assert pseudo_auc(nameless, EUCLIDEAN) == pytest.approx(expected, abs=1e-12)


def test_a_machines_value_is_the_mean_over_its_sections():
    clips = {"00": LINE, "01": [0.0, 5.0, 6.0]}
    sections = {name: on_a_line(x, [], "a" * len(x), section=name) for name, x in clips.items()}
    rng = np.random.default_rng(0)
    expected = []
    for x in clips.values():
        # The draws of the second section follow those of the first.
        rows = rng.integers(len(x), size=(len(x), 2))[:, 0]
        normal = [min(abs(a - b) for b in x if b != a) for a in x]
        expected.append(share_of_wins(np.zeros(len(rows)), normal))
    both = Embeddings.joined(list(sections.values()))
    assert pseudo_auc(both, EUCLIDEAN) == pytest.approx(np.mean(expected), abs=1e-12)
    assert np.isnan(pseudo_auc(both[both.section == "02"], EUCLIDEAN))


def test_normalisations_that_need_further_clips_are_judged_by_that_of_the_training_clips():
    own = on_a_line(LINE, [20.0, 21.0, 21.5], "aabbcdc")
    value = {
        mode: pseudo_auc(own, dataclasses.replace(EUCLIDEAN, normalization=mode), [OTHER])
        for mode in ("none", "train", "test", "held_out")
    }
    assert value["train"] == value["test"] == value["held_out"] != value["none"]


def test_a_thousand_of_each_kind_of_pseudo_anomaly_are_enough():
    rng = np.random.default_rng(0)
    assert _features(np.zeros((1500, 2, 3)), rng).shape == (1000, 2, 3)
    assert _features(np.zeros((5, 3)), rng).shape == (5, 3)
    many = normal_clips(np.zeros((1200, 1)), ["source"] * 1200, [""] * 1200)
    asked = []

    class Recorder(SectionScorer):
        def bank_scores(self, vectors, clip=None):
            asked.append(len(vectors))
            return super().bank_scores(vectors, clip)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asd_jax.scoring.automatic.SectionScorer", Recorder)
        pseudo_auc(many[:20], EUCLIDEAN, [many, many, many[:7]])
    assert asked == [20, 333, 333, 7]


STANDARDISED = ("euclidean", True)


def test_the_candidates_are_seven_back_ends_of_each_layer():
    of = {
        "knn": ("knn", "cosine", False),
        "standardised knn": ("knn", *STANDARDISED),
        "local density": ("local_density", "cosine", False),
        "standardised local density": ("local_density", *STANDARDISED),
        "varmin": ("varmin", "cosine", False),
        "mahalanobis": ("mahalanobis", "cosine", False),
        "standardised PCA residual": ("pca_residual", *STANDARDISED),
    }
    plain = dict(candidates(Scoring(back_end="auto", k=3), machine()))
    found = {name: (s.back_end, s.distance, s.standardize) for name, s in plain.items()}
    assert found == of and {(s.k, s.layers) for s in plain.values()} == {(3, "mean_score")}
    layered = dataclasses.replace(machine(shape=(2, 6)), axes=("clip", "layer", "embedding"))
    layers = ("mean_score", "0", "1")
    assert {name: s.layers for name, s in candidates(Scoring(), layered)} == {
        f"{name}, layers {layer}": layer for name in of for layer in layers
    }
    assert list(dict(candidates(Scoring(), machine(shape=(2, 6))))) == list(of)


def test_neither_labels_nor_test_clips_are_looked_at():
    machines = {"fan": machine(seed=0), "pump": machine(seed=1)}
    one = chosen_scoring(machines, Scoring(back_end="auto"))
    blind = {}
    for name, of in machines.items():
        test = of.split == "test"
        noise = np.random.default_rng(5).normal(size=of.vectors.shape).astype(np.float32)
        vectors = np.where(test[:, None], noise, of.vectors)
        label = np.where(test, -1, of.label)
        blind[name] = dataclasses.replace(of, vectors=vectors, label=label)
    assert chosen_scoring(blind, Scoring(back_end="auto")) == one


def test_the_candidate_that_sees_the_anomalies_is_chosen():
    """All that matters is in the smallest dimension, which only standardised candidates see."""
    rng = np.random.default_rng(0)
    scale = np.array([100.0, 100.0, 100.0, 0.01])

    def clips(shift):
        vectors = rng.normal(size=(60, 4))
        vectors[:, 3] += shift
        return normal_clips(1000 + vectors * scale, ["source"] * 60, [""] * 60)

    machines = {"fan": clips(0), "pump": clips(8)}
    found, note = chosen_scoring(machines, Scoring(back_end="auto"))["fan"]
    assert found.standardize or found.back_end == "mahalanobis"
    assert note.startswith("back_end=auto: ") and "pseudo AUC" in note


def test_layers_are_chosen_too():
    rng = np.random.default_rng(0)

    def clips(shift):
        vectors = rng.normal(size=(40, 2, 4)) + 5
        vectors[:, 1] += shift  # only layer 1 tells the machines apart
        one = normal_clips(vectors[:, 0], ["source"] * 40, [""] * 40)
        return dataclasses.replace(one, vectors=vectors, axes=("clip", "layer", "embedding"))

    machines = {"fan": clips(0), "pump": clips(np.array([2.0, -2.0, 2.0, -2.0]))}
    assert chosen_scoring(machines, Scoring(back_end="auto"))["fan"][0].layers == "1"


def test_windows_of_a_clip_are_one_normal_sound():
    of = machine(source=12, target=4)
    files = np.array([f"{int(row) // 2:04d}.wav" for row in range(len(of.files))])
    starts = np.arange(len(files)) % 2 * 5.0
    windowed = dataclasses.replace(of, files=files, window_start_seconds=starts)
    for scoring in (Scoring(), Scoring(back_end="mahalanobis")):
        assert 0 < pseudo_auc(windowed, scoring, [windowed]) <= 1
    # Two equal windows are their clip, and each is left out with the other.
    line = on_a_line(LINE, [20.0, 21.5], "aabbcc")
    twice = Embeddings.joined([line, line])
    twice = dataclasses.replace(twice, window_start_seconds=np.repeat([0.0, 5.0], 6))
    cross = [*[20 - x for x in LINE], 13, 14.5, *[3, 2, 2, 6]]
    every = np.array([*LINE, 20, 21.5] * 2)
    pseudo = [*feature(every, every), *cross]
    expected = share_of_wins(pseudo, [1, 1, 2, 4, 1.5, 1.5])
    assert pseudo_auc(twice, EUCLIDEAN) == pytest.approx(expected, abs=1e-12)


def test_a_back_end_that_cannot_leave_out_the_few_clips_of_a_domain_is_not_preferred():
    """VarMin needs 3 clips in a bank, so that none of 3 target clips has a score without itself."""
    machines = {"fan": machine(source=20, target=3), "pump": machine(seed=1)}
    varmin = pseudo_auc(machines["fan"], Scoring(back_end="varmin"), [machines["pump"]])
    assert varmin <= 20 / 23  # 0.74 of the source clips' comparisons alone, more than any other
    note = chosen_scoring(machines, Scoring(back_end="auto"))["fan"][1]
    assert note == "back_end=auto: knn, pseudo AUC 70.42 %"


def test_what_cannot_be_chosen_is_said():
    one = normal_clips([[1.0, 2.0]], ["source"], [""])
    said = (
        "machine fan: back_end=auto: no candidate can be judged (there are too few normal clips to"
    )
    test = dataclasses.replace(one, split=np.array(["test"]))
    with pytest.raises(InputError, match=f"^{re.escape(said)} compare with\\)$"):
        chosen_scoring({"fan": test}, Scoring(back_end="auto"))
    why = "source: this back end needs 2 training clips, found 1; use knn"
    said = f"judged (local density: {why}; standardised local density: {why}; varmin: "
    with pytest.raises(InputError, match=re.escape(said)):
        chosen_scoring({"fan": one}, Scoring(back_end="auto", normalization="none"))
    with pytest.raises(InputError, match="back_end=auto is not fitted itself"):
        fit_sections(machine(), Scoring(back_end="auto"))
    with pytest.raises(InputError, match="known: knn, .*, several joined by .*, or auto"):
        Scoring(back_end="knn+auto")
