"""A bank is made of normal sounds: what their scores leave out, and who votes."""

import numpy as np
import pytest
from normal_sounds import POOLED, fit, vectors

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.bank_fitting import Known
from asd_jax.scoring.normal_windows import SelfScores, SimulatedWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import folds


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


def test_two_sounds_are_too_few_and_three_are_not():
    said = "2 normal sounds to learn from: at least 3 are needed, 20 or more are better"
    with pytest.raises(InputError, match=f"^{said}$"):
        fit({"a": vectors(2)}, POOLED[:2])
    with pytest.raises(InputError, match="^2 normal sounds to learn from"):
        fit({"a": vectors(3)}, POOLED[:3], scored=np.arange(3) > 0)
    assert len(fit({"a": vectors(3)}, POOLED[:3]).normal) == 3
    with pytest.raises(InputError, match="^2 recordings in the bank of pooled sounds"):
        fit({"a": vectors(4)}, POOLED[:4], group=np.arange(4) // 2)


def test_the_bank_holds_the_rows_of_a_coreset_and_scores_every_window():
    x = vectors()
    kept = np.arange(5, 25)
    bank = fit({"a": x}, rows={"a": kept})
    np.testing.assert_array_equal(bank.vectors["a"], x[kept])
    fold = np.arange(40) % 10
    distance = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    expected = [distance[n, kept[fold[kept] != fold[n]]].min() for n in range(40)]
    np.testing.assert_allclose(bank.self_scores.values["a/knn"][:, 0], expected, rtol=1e-12)


def test_a_coreset_of_recordings_that_are_left_out_together_is_too_small():
    said = r"the few vectors kept in the bank of pooled sounds \(a\) .*: keep a larger coreset"
    with pytest.raises(InputError, match=f"^{said}$"):
        fit({"a": vectors()}, rows={"a": np.array([0, 10, 20])})


def far_sessions(session, seed=3, width=6):
    """Vectors whose sessions lie far apart."""
    rng = np.random.default_rng(seed)
    shift = 10 * rng.normal(size=(session.max() + 1, width))[session]
    return (shift + rng.normal(size=(len(session), width))).astype(np.float32)


def nearest_other(x, number, among):
    """The distance of each vector to the nearest of some others that have another number."""
    distance = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    return np.array([distance[n, among & (number != number[n])].min() for n in range(len(x))])


def test_known_scores_as_of_a_new_session_are_kept_too():
    session = np.repeat(np.arange(5), 8)
    x = far_sessions(session)
    seven, eight = (
        SelfScores(np.ones(10, bool), {"a/knn": np.full((10, 1), value)}) for value in (7.0, 8.0)
    )
    known = Known(seven, eight, {"a": np.arange(40)})
    bank = fit({"a": x}, session=session, known=known)
    expected = nearest_other(x, session, np.ones(40, bool))
    expected[:10] = 8
    np.testing.assert_allclose(bank.new_session_scores.values["a/knn"][:, 0], expected, rtol=1e-12)
    assert bank.self_scores.values["a/knn"][:10].tolist() == [[7]] * 10


def test_a_session_of_most_of_the_windows_is_not_scored_as_a_new_one():
    session = np.repeat(np.arange(4), [22, 6, 6, 6])
    bank = fit({"a": far_sessions(session)}, session=session)
    assert bank.by_sessions == {"pooled": True}
    assert bank.new_session_scores.of.tolist() == [False] * 22 + [True] * 18
    assert bank.self_scores.of.all()


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("target", [[16], [8, 8]], ids=["one session", "two sessions"])
def test_a_domain_whose_sessions_cannot_be_left_out_has_other_scores_of_new_sessions(
    simulated, target
):
    """Its self-scores, or those of simulated windows."""
    domain = np.repeat(["source", "target"], [24, 16])
    session = np.repeat(np.arange(4 + len(target)), [6] * 4 + target)
    x = far_sessions(session)
    copied = np.arange(24, 39)  # the last window of the target has no copy
    rows = np.concatenate([copied, copied, [3]])
    further = {"a": np.concatenate([x[copied] + 2, x[copied] - 50, x[3:4] + 1]).astype(np.float32)}
    options = {"simulated": SimulatedWindows(rows, further)} if simulated else {}
    scored = np.arange(40) != 30
    bank = fit({"a": x}, domain, session=session, scored=scored, **options)
    assert bank.by_sessions == {"source": True, "target": False}
    found = bank.new_session_scores
    of = scored & (np.arange(40) != 39) if simulated else scored
    assert found.of.tolist() == of.tolist()
    source = domain == "source"
    column = np.where(domain == "source", 0, 1)
    own = found.values["a/knn"][np.arange(of.sum()), column[of]]
    expected = nearest_other(x, session, source)
    fold = folds(domain, np.arange(40))
    expected[~source] = nearest_other(x, fold, ~source)[~source]
    if simulated:
        bank_of = np.concatenate([x[~source], further["a"][:-1]]).astype(np.float64)
        of_window = np.concatenate([np.flatnonzero(~source), copied, copied])
        for n in copied:
            near = np.linalg.norm(bank_of - (x[n] + 2).astype(np.float32), axis=1)
            expected[n] = near[fold[of_window] != fold[n]].min()
    np.testing.assert_allclose(own, expected[of], rtol=1e-6)
    # The bank of the target is whole where sessions of the source are left out.
    to_target = np.linalg.norm(x[source, None].astype(np.float64) - bank.training("a")[0], axis=2)
    to_target = to_target[:, bank.training("a")[1] == "target"].min(1)
    np.testing.assert_allclose(found.values["a/knn"][:24, 1], to_target, rtol=1e-6)


def test_sessions_that_are_recordings_need_no_second_scores():
    bank = fit({"a": vectors()})
    assert bank.new_session_scores is bank.self_scores


@pytest.mark.parametrize(
    ("worse", "scale", "votes"),
    [
        (1.0, 1024.0, True),  # as well as the trusted one, in another unit
        (0.5, 1.0, True),  # between both trusted ones
        (2.0, 1.0, False),
    ],
)
def test_a_view_on_trial_votes_if_it_knows_new_sessions_as_well_as_one_of_the_others(
    worse, scale, votes
):
    session = np.repeat(np.arange(5), 8)
    far = np.repeat(np.eye(5, 6, dtype=np.float32), 8, axis=0)
    x = vectors()
    shifted = {"a": x, "b": x + 10 * far, "c": scale * (x + 10 * np.float32(worse) * far)}
    for views in (("a", "b", "c"), ("c", "b", "a")):
        bank = fit({one: shifted[one] for one in views}, session=session, on_trial=("c",))
        voting = [f"{one}/knn" for one in views if one != "c" or votes]
        assert list(bank.voting) == voting


@pytest.mark.parametrize("on_trial", [(), ("a", "b")])
def test_all_views_vote_if_all_or_none_are_on_trial(on_trial):
    session = np.repeat(np.arange(5), 8)
    x = {"a": vectors(), "b": far_sessions(session)}
    assert fit(x, session=session, on_trial=on_trial).voting == ("a/knn", "b/knn")


def test_what_cannot_be_tried_in_other_sessions_votes():
    odd = far_sessions(np.repeat(np.arange(5), 8))
    for session in (np.arange(40), np.zeros(40, int)):
        bank = fit({"a": vectors(), "b": odd}, session=session, on_trial=("b",))
        assert bank.voting == ("a/knn", "b/knn")


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


def test_a_view_on_trial_that_knows_no_new_session_has_no_vote():
    rng = np.random.default_rng(6)
    session = np.repeat(np.arange(5), 8)
    good = vectors()
    bad = (100 * rng.normal(size=(5, 6))[session] + rng.normal(size=(40, 6))).astype(np.float32)
    for tried, voting in ((bad, ("a/knn",)), (2 * good, ("a/knn", "b/knn"))):
        bank = fit({"a": good, "b": tried}, session=session, on_trial=("b",))
        assert bank.voting == voting
        assert set(bank.score({"a": good[:3], "b": tried[:3]})) == set(bank.voting)
