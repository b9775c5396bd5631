"""A bank is made of normal sounds: what their scores leave out, and who votes."""

import numpy as np
import pytest
from normal_sounds import POOLED, fit, vectors

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.bank_fitting import Known
from asd_jax.scoring.normal_windows import SelfScores
from asd_jax.scoring.options import Scoring


def test_self_scores_are_the_distances_to_the_other_folds():
    x = vectors()
    raw = fit({"a": x}).self_scores.values["a/knn"][:, 0]
    fold = np.arange(40) % 10
    distance = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    np.testing.assert_allclose(
        raw, [distance[n, fold != fold[n]].min() for n in range(40)], rtol=1e-12
    )


def test_windows_of_one_recording_do_not_vouch_for_each_other():
    x = vectors(20)
    twice = np.concatenate([x, x])
    recording = np.tile(np.arange(20), 2)
    assert fit({"a": twice}, group=recording).self_scores.values["a/knn"].min() > 0.1
    other_fold = np.concatenate([np.arange(20), 20 + np.roll(np.arange(20), 1)])
    assert fit({"a": twice}, group=other_fold).self_scores.values["a/knn"].max() == 0


def test_bands_are_compared_apart_where_vectors_have_them():
    x = vectors(width=12).reshape(40, 3, 4)
    cosine = Scoring(distance="cosine", normalization="train")
    raw = fit({"a": x}, scoring={"a": cosine}).self_scores.values["a/knn"][:, 0]
    unit = x / np.linalg.norm(x.astype(np.float64), axis=2, keepdims=True)
    fold = np.arange(40) % 10
    distance = 1 - np.einsum("nbd,mbd->nm", unit, unit) / 3
    np.testing.assert_allclose(
        raw, [distance[n, fold != fold[n]].min() for n in range(40)], rtol=1e-6
    )


def test_known_self_scores_are_kept_and_uncounted_ones_left_out():
    seven = SelfScores(np.ones(10, bool), {"a/knn": np.full((10, 1), 7.0)})
    known = Known(seven, seven, {"a": np.arange(40)})
    bank = fit({"a": vectors()}, known=known, scored=np.arange(40) != 39)
    assert (bank.self_scores.values["a/knn"][:10] == 7).all() and len(bank.normal) == 39
    assert bank.self_scores.of.tolist() == [True] * 39 + [False]


def test_two_sounds_are_too_few():
    with pytest.raises(InputError, match="at least 3"):
        fit({"a": vectors(2)}, POOLED[:2])


def test_a_session_is_left_out_whole():
    rng = np.random.default_rng(3)
    session = np.repeat(np.arange(5), 8)
    x = (10 * rng.normal(size=(5, 6))[session] + rng.normal(size=(40, 6))).astype(np.float32)
    bank = fit({"a": x}, session=session)
    distance = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    others = [distance[n, session != session[n]].min() for n in range(40)]
    np.testing.assert_allclose(bank.new_session_scores.values["a/knn"][:, 0], others, rtol=1e-12)
    assert bank.by_sessions == {"pooled": True}
    assert np.median(bank.normal) > 3 * np.median(bank.deviations)
    further = 10 * rng.normal(size=6) + rng.normal(size=(200, 6))
    assert np.mean(fused(bank.score({"a": further.astype(np.float32)})) > bank.normal.max()) < 0.5


def test_a_view_on_trial_that_knows_no_new_session_is_not_heard():
    rng = np.random.default_rng(6)
    session = np.repeat(np.arange(5), 8)
    good = vectors()
    bad = (100 * rng.normal(size=(5, 6))[session] + rng.normal(size=(40, 6))).astype(np.float32)
    for tried, heard in ((bad, ("a/knn",)), (vectors(seed=1), ("a/knn", "b/knn"))):
        bank = fit({"a": good, "b": tried}, session=session, on_trial=("b",))
        assert bank.voting == heard or tried is not bad
        assert set(bank.score({"a": good[:3], "b": tried[:3]})) == set(bank.voting)
