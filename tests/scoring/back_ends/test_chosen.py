import dataclasses
import functools
import inspect

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST, z_scores

from asd_jax.runtime.errors import InputError
from asd_jax.scoring import options
from asd_jax.scoring.back_ends import chosen
from asd_jax.scoring.back_ends.band_matching import band_matching
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fusion import on_columns
from asd_jax.scoring.back_ends.gmm import gmm
from asd_jax.scoring.back_ends.k_means import k_means
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.local_density import local_density
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis
from asd_jax.scoring.back_ends.mem_mixup import mem_mixup
from asd_jax.scoring.back_ends.pca_residual import pca_residual
from asd_jax.scoring.back_ends.smote import smote
from asd_jax.scoring.back_ends.varmin import varmin
from asd_jax.scoring.options import DEFAULT


def test_layers_are_averaged_by_their_z_scores():
    layered = {domain: v.reshape(-1, 2, 4) for domain, v in BANK.items()}
    found = fit_back_end(layered, DEFAULT, ("clip", "layer", "embedding")).score(TEST)["target"]
    layers = [
        functools.partial(z_scores, "target", on_columns(knn, slice(i, i + 4))) for i in (0, 4)
    ]
    assert found == pytest.approx(np.mean([layer() for layer in layers], axis=0), abs=1e-12)


def test_a_single_layer_has_no_other_to_be_averaged_with():
    one = {domain: v[:, None] for domain, v in BANK.items()}
    found = fit_back_end(one, DEFAULT, ("clip", "layer", "embedding")).score(TEST)["target"]
    assert np.array_equal(found, knn(BANK).score(TEST)["target"])


def test_a_layer_has_no_bands():
    layered = {domain: v.reshape(-1, 2, 4) for domain, v in BANK.items()}
    scoring = dataclasses.replace(DEFAULT, back_end="varmin")
    found = fit_back_end(layered, scoring, ("clip", "layer", "embedding")).score(TEST)["source"]
    fits = [on_columns(varmin, slice(i, i + 4)) for i in (0, 4)]
    expected = np.mean([z_scores("source", fit) for fit in fits], axis=0)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layers", [False, True])
def test_clips_left_out_together_give_the_statistics_of_a_fusion(layers):
    """Rows are doubles, whose nearest neighbours without groups are each other."""
    double = {domain: np.repeat(v, 2, axis=0) for domain, v in BANK.items()}
    groups = {domain: np.repeat(np.arange(len(v)), 2) for domain, v in BANK.items()}
    parts = {domain: v.reshape(len(v), 2 if layers else 1, -1) for domain, v in double.items()}
    name = "knn" if layers else "knn+local_density"
    scoring = dataclasses.replace(DEFAULT, back_end=name, fusion="mean")
    found = fit_back_end(parts, scoring, ("clip", "layer", "embedding"), groups).score(TEST)
    fits = [on_columns(knn, slice(0, 4)), on_columns(knn, slice(4, 8))]
    of_each = []
    for fit in fits if layers else (knn, local_density):
        fitted = fit(double)
        own = fitted.self_scores(groups)["source"]["source"]
        of_each.append((fitted.score(TEST)["source"] - own.mean()) / own.std())
    assert found["source"] == pytest.approx(np.mean(of_each, axis=0), abs=1e-9)


SET = dataclasses.replace(
    DEFAULT,
    distance="euclidean",
    k=2,
    smote_ratio=0.5,
    smote_k=3,
    density_k=3,
    centres=5,
    mixup_k=4,
    mixup_weight=0.7,
    varmin_log=True,
    shrinkage=0.3,
    components=2,
    mixture=2,
    seed=3,
)
EUCLIDEAN = functools.partial(dict, distance="euclidean")


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [
        ("knn", knn, EUCLIDEAN(k=2)),
        ("smote", smote, EUCLIDEAN(k=2, ratio=0.5, smote_k=3, seed=3)),
        ("mem_mixup", mem_mixup, EUCLIDEAN(k=2, mixup_k=4, weight=0.7)),
        ("k_means", k_means, EUCLIDEAN(centres=5, seed=3)),
        ("local_density", local_density, EUCLIDEAN(k=3, neighbours=2)),
        ("mahalanobis", mahalanobis, {"shrinkage": 0.3}),
        ("pca_residual", pca_residual, {"components": 2}),
        ("gmm", gmm, {"components": 2, "seed": 3}),
        ("varmin", varmin, EUCLIDEAN(k=3, in_log=True, bands=2)),
        ("band_matching", band_matching, EUCLIDEAN(k=2, bands=2)),
    ],
)
def test_each_back_end_gets_its_options(name, function, options):
    banded = {domain: v.reshape(-1, 2, 4) for domain, v in BANK.items()}
    scoring = dataclasses.replace(SET, back_end=name)
    found = fit_back_end(banded, scoring, ("clip", "band", "embedding")).score(TEST)
    for domain, scores in function(BANK, **options).score(TEST).items():
        assert np.array_equal(found[domain], scores)


def test_a_large_bank_is_searched_on_the_device_if_that_is_asked_for(monkeypatch):
    asked = []

    def recorded(bank, **options):
        asked.append(options["on_device"])
        return knn(bank, **options)

    monkeypatch.setattr("asd_jax.scoring.back_ends.chosen.knn", recorded)
    for on_device in (True, False):
        scoring = dataclasses.replace(DEFAULT, on_device=on_device)
        fit_back_end({"source": SOURCE[:, None]}, scoring, ("clip", "embedding"))
    assert asked == [True, False]


# Options of the functions -> fields of Scoring; all others have the field's name.
OPTIONS = {
    ("smote", "ratio"): "smote_ratio",
    ("mem_mixup", "weight"): "mixup_weight",
    ("local_density", "k"): "density_k",
    ("local_density", "neighbours"): "k",
    ("varmin", "k"): "density_k",
    ("varmin", "in_log"): "varmin_log",
    ("gmm", "components"): "mixture",
}


@pytest.mark.parametrize(
    "function",
    [knn, smote, mem_mixup, k_means, local_density, mahalanobis, pca_residual, gmm, varmin],
)
def test_the_defaults_of_a_back_end_are_those_of_the_config(function):
    of = inspect.signature(function).parameters
    defaults = {name: one.default for name, one in of.items() if name not in ("bank", "bands")}
    for name, default in defaults.items():
        field = OPTIONS.get((function.__name__, name), name)
        # Ledoit and Wolf's shrinkage is 0 in a config, and None in Python.
        assert getattr(DEFAULT, field) == (default or 0), name


def test_an_unknown_back_end_lists_the_known_ones():
    with pytest.raises(InputError, match="'knm'.*knn, smote"):
        fit_back_end(
            {"source": SOURCE[:, None]},
            dataclasses.replace(DEFAULT, back_end="knn+knm"),
            ("clip", "e"),
        )


def test_options_name_every_back_end_there_is():
    assert set(options.BACK_ENDS) == set(chosen.BACK_ENDS)
