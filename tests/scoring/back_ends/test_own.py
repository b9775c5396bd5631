"""A back end that is a function of the user's own, named package.module:function."""

import dataclasses
import inspect

import numpy as np
import pytest

from asd_jax.detector.header import Header
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis
from asd_jax.scoring.options import DEFAULT, Scoring

MODULE = """
import numpy as np

def spherical(bank):
    def scorer(mean):
        return lambda vectors: np.linalg.norm(vectors - mean, axis=1)
    return {domain: scorer(vectors.mean(0)) for domain, vectors in bank.items()}

def one_number(bank):
    return {domain: lambda vectors: 1.0 for domain in bank}

def not_finite(bank):
    return {domain: lambda vectors: np.full(len(vectors), np.nan) for domain in bank}

def no_scorers(bank):
    return bank["source"]
"""
BANK = {
    "source": np.random.default_rng(0).normal(size=(20, 3)),
    "target": np.random.default_rng(1).normal(size=(7, 3)),
}
TEST = np.random.default_rng(2).normal(size=(5, 3))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the working directory: function -> its back end fitted to BANK."""
    (tmp_path / "own_scores.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def fit(name):
        scoring = dataclasses.replace(DEFAULT, back_end=f"own_scores:{name}")
        banded = {domain: vectors[:, None] for domain, vectors in BANK.items()}
        return fit_back_end(banded, scoring, ("clip", "embedding"))

    return fit


def test_it_scores_as_the_same_back_end_of_the_package_and_leaves_each_clip_out(own):
    """Mahalanobis' distance with a spherical covariance is the distance to the mean, scaled."""
    found = own("spherical")
    wanted = mahalanobis(BANK, shrinkage=1.0)
    assert inspect.isfunction(found.score)
    for domain, scores in found.score(TEST).items():
        ratio = scores / wanted.score(TEST)[domain]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    own_scores = found.self_scores()["target"]["target"]
    rest = [np.delete(BANK["target"], n, axis=0).mean(0) for n in range(7)]
    # Seven clips are five folds, so that two folds leave two clips out together.
    alone = np.linalg.norm(BANK["target"] - rest, axis=1)
    assert np.sum(np.isclose(own_scores, alone, rtol=1e-12)) == 3
    assert (own_scores > found.score(BANK["target"])["target"]).all()


def test_it_is_fused_with_others_by_a_plus(own):
    fused = own("spherical+knn").score(TEST)
    assert {scores.shape for scores in fused.values()} == {(5,)}


@pytest.mark.parametrize(
    "name, said",
    [
        ("nothing", "has no attribute 'nothing'"),
        ("np", "is no function"),
        ("one_number", r"float64 \(\) for 5 vectors"),
        ("not_finite", "NaN or infinity among the scores"),
        ("no_scorers", "returned ndarray; expected a dictionary with a scorer for each of source"),
    ],
)
def test_what_is_no_back_end_is_named(own, name, said):
    with pytest.raises(InputError, match=f"scoring.back_end=own_scores:{name}: .*{said}"):
        own(name).score(TEST)


def test_no_file_of_a_detector_chooses_what_is_imported():
    header = object.__new__(Header)
    object.__setattr__(header, "scoring", {"spectrum": Scoring(back_end="knn+os:system")})
    with pytest.raises(InputError, match="none that a detector may have"):
        header.__post_init__()
