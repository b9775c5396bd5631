"""The choice of a back end from normal clips alone."""

import dataclasses

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import fit_sections
from asd_jax.scoring.automatic import CANDIDATES, chosen_scoring, pseudo_auc
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring

EUCLIDEAN = Scoring(distance="euclidean", normalization="none")


def normal_clips(vectors, domain, attribute, section="00"):
    n = len(vectors)
    columns = [np.full(n, section), np.full(n, "train"), np.array(domain), np.zeros(n, int)]
    files = np.array([f"{i:03d}.wav" for i in range(n)])
    return Embeddings(np.asarray(vectors, float), files, *columns, np.array(attribute))


def test_the_diverse_pseudo_anomalies_are_those_of_the_paper():
    """Every set against a loop: feature is empty where all clips agree in each dimension."""
    line = [[float(i), 0.0] for i in (0, 1, 3, 7)]
    own = normal_clips(
        line + [[20.0, 0.0], [21.5, 0.0]], ["source"] * 4 + ["target"] * 2, list("aabbcc")
    )
    other = normal_clips([[0.5, 0.0], [30.0, 0.0]], ["source"] * 2, ["z", "z"])
    normal = [1, 1, 2, 4, 1.5, 1.5]  # to the nearest other clip of the own domain
    x = np.array([v[0] for v in line])
    cross_domain = [min(abs(x - t)) for t in (20, 21.5)] + [20 - s for s in x]
    cross_class = [0.5, 8.5]
    # a = 0, 1 against b = 3, 7 and back; the minimum over domains; target has one attribute
    cross_attribute = [3, 2, 2, 6]
    known = [*cross_domain, *cross_class, *cross_attribute]
    rng = np.random.default_rng(0)
    rows = rng.integers(6, size=(6, 2))
    every = np.array([*x, 20, 21.5])
    feature = [np.abs(every - every[row]).min() for row in rows[:, 0]]
    pseudo = np.array([*feature, *known])
    wins = [(p > n) + (p == n) / 2 for p in pseudo for n in normal]
    assert pseudo_auc(own, EUCLIDEAN, [other]) == pytest.approx(np.mean(wins), abs=1e-12)
    # without another machine, and without the other's shape, that part is missing
    alone = pseudo_auc(own, EUCLIDEAN)
    wide = dataclasses.replace(other, vectors=np.ones((2, 3)))
    assert alone != pseudo_auc(own, EUCLIDEAN, [other])
    assert alone == pseudo_auc(own, EUCLIDEAN, [wide])


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


def test_a_back_end_that_cannot_leave_out_the_few_clips_of_a_domain_is_not_preferred():
    """VarMin needs 3 clips in a bank, so that none of 3 target clips has a score without itself."""
    machines = {"fan": machine(source=20, target=3), "pump": machine(seed=1)}
    varmin = pseudo_auc(machines["fan"], Scoring(back_end="varmin"), [machines["pump"]])
    assert varmin <= 20 / 23  # 0.74 of the source clips' comparisons alone, more than any other
    note = chosen_scoring(machines, Scoring(back_end="auto"))["fan"][1]
    assert note == "back_end=auto: knn, pseudo AUC 70.42 %"


def test_what_cannot_be_chosen_is_said():
    one = normal_clips([[1.0, 2.0]], ["source"], [""])
    with pytest.raises(InputError, match="machine fan: back_end=auto: no candidate can be judged"):
        chosen_scoring({"fan": one}, Scoring(back_end="auto"))
    with pytest.raises(InputError, match="back_end=auto is not fitted itself"):
        fit_sections(machine(), Scoring(back_end="auto"))
    with pytest.raises(InputError, match="known: knn, .*, several joined by .*, or auto"):
        Scoring(back_end="knn+auto")
    assert len(CANDIDATES) == 7
