import re

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TARGET, TEST

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.smote import smote


def test_smote_grows_the_target_bank_between_its_own_clips():
    fitted = smote(BANK, distance="euclidean", ratio=0.5, smote_k=2)
    plain = knn(BANK, distance="euclidean")
    assert np.array_equal(fitted.score(TEST)["source"], plain.score(TEST)["source"])
    closer = plain.score(TEST)["target"] - fitted.score(TEST)["target"]
    # the real clips are still there, and some between
    assert np.all(closer >= -1e-12) and np.any(closer > 0.01)
    assert np.array_equal(
        fitted.self_scores()["target"]["target"], plain.self_scores()["target"]["target"]
    )


@pytest.mark.parametrize(("clips", "targets"), [(12, 2), (24, 4), (48, 9), (10, 2), (11, 2)])
def test_smote_of_a_bank_that_lacks_no_whole_clip_is_plain(clips, targets):
    rng = np.random.default_rng(0)
    bank = {"source": rng.normal(size=(clips, 8)), "target": rng.normal(size=(targets, 8))}
    found = smote(bank, distance="euclidean", ratio=0.2).score(TEST)["target"]
    assert np.array_equal(found, knn(bank, distance="euclidean").score(TEST)["target"])


def test_smote_of_two_clips_fills_the_line_between_them():
    bank = {"source": SOURCE, "target": np.array([[0.0] * 8, [1.0] * 8])}
    between = np.linspace(0, 1, 50)[:, None] * np.ones(8)
    assert smote(bank, distance="euclidean", ratio=1.0).score(between)["target"].max() < 0.3
    off = between + np.r_[1.0, np.zeros(7)]  # nothing is added off the line
    assert smote(bank, distance="euclidean", ratio=1.0).score(off)["target"].min() > 0.9


@pytest.mark.parametrize(
    "options, bank, said",
    [
        ({}, {"source": SOURCE}, "smote: needs a source and a target bank, found source; use knn"),
        (
            {},
            {"source": SOURCE, "target": TARGET[:1]},
            "smote: needs at least two target training clips to interpolate between",
        ),
        ({"ratio": 1.5}, BANK, "smote ratio 1.5: must lie in (0, 1]"),
    ],
)
def test_what_smote_cannot_do_is_said(options, bank, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        smote(bank, **options)
