"""What all back ends have in common; back_ends/ compares each with a reference in float64."""

import dataclasses
import functools

import numpy as np
import pytest
from scoring.banks import BANK, FITS, RNG, SOURCE, TARGET, TEST

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import BACK_ENDS, fit_back_end
from asd_jax.scoring.back_ends.fusion import fuse
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis
from asd_jax.scoring.back_ends.mem_mixup import mem_mixup
from asd_jax.scoring.back_ends.smote import smote
from asd_jax.scoring.options import DEFAULT


@pytest.mark.parametrize("back_end", sorted(BACK_ENDS))
def test_self_scores_leave_groups_out_whole(back_end):
    """Rows of a group are doubles: no score is of a bank that holds one, and no other clip is made
    up beside them.
    """
    double = {
        domain: np.repeat(vectors, 2, axis=0)[:, None].repeat(2, 1)
        for domain, vectors in BANK.items()
    }
    fitted = fit_back_end(
        double, dataclasses.replace(DEFAULT, back_end=back_end), ("clip", "band", "embedding")
    )
    groups = {domain: np.repeat(np.arange(len(vectors)), 2) for domain, vectors in BANK.items()}
    own = fitted.self_scores(groups)["target"]["target"]
    np.testing.assert_allclose(own[::2], own[1::2], rtol=1e-9)
    # seven groups: left out one by one
    if back_end in (
        "knn",
        "smote",
        "mem_mixup",
        "band_matching",
    ):
        plain = knn(BANK).self_scores()["target"]["target"]
        np.testing.assert_allclose(own[::2], plain, rtol=1e-9)
    alone = {domain: np.zeros(len(group)) for domain, group in groups.items()}
    assert np.isnan(
        fitted.self_scores(alone)["source"]["source"]
    ).all()  # nothing is left to compare with


def fitted(name, bank):
    scoring = dataclasses.replace(DEFAULT, back_end=name, distance="euclidean", components=4)
    banded = {domain: v.reshape(-1, 2, 4) for domain, v in bank.items()}
    return fit_back_end(banded, scoring, ("clip", "band", "embedding"))


@pytest.mark.parametrize("name", [*BACK_ENDS, "knn+gmm"])
def test_no_back_end_minds_the_order_of_the_clips(name):
    """Scores and self-scores move with their clips, to the rounding of sums in another order."""
    order = RNG.permutation(len(SOURCE))
    one = fitted(name, BANK)
    other = fitted(name, {"source": SOURCE[order], "target": TARGET[::-1]})
    for domain, scores in one.score(TEST).items():
        assert other.score(TEST[::-1])[domain][::-1] == pytest.approx(scores, abs=1e-9)
    assert other.self_scores()["source"]["source"] == pytest.approx(
        one.self_scores()["source"]["source"][order], abs=1e-9
    )


@pytest.mark.parametrize("name", [*BACK_ENDS, "knn+gmm"])
def test_self_scores_are_there_for_every_real_clip_against_every_bank(name):
    found = fitted(name, BANK).self_scores()
    assert {(clips, bank): len(v) for clips, of in found.items() for bank, v in of.items()} == {
        ("source", "source"): 60,
        ("source", "target"): 60,
        ("target", "source"): 7,
        ("target", "target"): 7,
    }
    assert all(np.isfinite(v).all() for of in found.values() for v in of.values())


@pytest.mark.parametrize("name", [*BACK_ENDS])
def test_a_far_off_clip_scores_higher_than_a_near_one(name):
    near, far = fitted(name, BANK).score(np.stack([SOURCE.mean(0), SOURCE.mean(0) + 50]))["source"]
    assert far > near


@pytest.mark.parametrize(
    "fit, bank, said",
    [
        (smote, {"source": SOURCE}, "needs a source and a target"),
        (mem_mixup, {"pooled": SOURCE}, "needs a source and a target"),
        (smote, {"source": SOURCE, "target": TARGET[:1]}, "at least two"),
        (
            mahalanobis,
            {"source": SOURCE, "target": TARGET[:1]},
            "target: .* 2 training clips, found 1",
        ),
        (functools.partial(mahalanobis, shrinkage=2.0), BANK, "shrinkage"),
        (functools.partial(fuse, fits=FITS, fusion="best"), BANK, "fusion"),
        (functools.partial(smote, ratio=1.5), BANK, "ratio"),
        (functools.partial(mem_mixup, weight=3.0), BANK, "weight"),
    ],
)
def test_what_a_back_end_cannot_do_is_said(fit, bank, said):
    with pytest.raises(InputError, match=said):
        fit(bank)
