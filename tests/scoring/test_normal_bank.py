import dataclasses
import itertools

import numpy as np
import pytest

from asd_jax.data.machines import MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.views import scoring_of, views
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.new_session import weighted_quantile
from asd_jax.scoring.normal_bank import Known, NormalBank
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import folds

KNN = Scoring(distance="euclidean", normalization="train")
POOLED = np.full(40, "pooled")


def vectors(n=40, seed=0, width=6):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def fit(found, domain=POOLED, group=None, **options):
    options = dict(options)
    windows = table(domain, group, options.pop("session", None), options.pop("scored", True))
    return NormalBank.fit({view: KNN for view in found}, found, windows, **options)


def table(domain=POOLED, group=None, session=None, scored=True):
    group = np.arange(len(domain)) if group is None else group
    session = group if session is None else session
    columns = {"domain": domain, "session": session, "scored": np.full(len(domain), scored)}
    return dataclasses.replace(NormalWindows.of_recordings(group), **columns)


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


def test_one_view_alone_can_call_a_sound_odd():
    x = {"a": vectors(), "b": vectors(seed=1)}
    bank = fit(x)
    test = {
        "a": vectors(5, 2),
        "b": vectors(5, 3) + np.array([[0], [0], [9], [0], [9]], np.float32),
    }
    by_view = bank.score(test)
    above = np.maximum([by_view["a/knn"], by_view["b/knn"]], 0)
    np.testing.assert_allclose(fused(by_view), np.cbrt((above**3).mean(0)), rtol=1e-12)
    assert (by_view["b/knn"][[2, 4]] > 5).all() and (by_view["b/knn"][[0, 1, 3]] < 5).all()
    assert (fused(by_view)[[2, 4]] > fused(by_view)[[0, 1, 3]].max()).all()
    below = {judge: np.full(2, -level) for judge, level in (("a", 1.0), ("b", 2.0))}
    np.testing.assert_array_equal(fused(below), [-1, -1])
    # raw distances, not z-scores
    assert abs(np.concatenate([v[:, 0] for v in bank.self_scores.values.values()]).mean()) > 0.5
    assert np.median(bank.normal) > 0  # a mean of what lies above the usual


def test_a_reserved_view_counts_from_one_standard_deviation_above_its_usual_score_on():
    x = {"a": vectors(), "b": vectors(seed=1)}
    plain, bank = fit(x), fit(x, reserved=("b",))
    test = {"a": vectors(5, 2), "b": vectors(5, 3)}
    for one, shift in (("a/knn", 0.0), ("b/knn", 1.0)):
        np.testing.assert_allclose(bank.score(test)[one], plain.score(test)[one] - shift)
    # What such a view says of usual sounds does not add to the score of the other.
    usual = {"a": vectors(30, 2), "b": vectors(30, 3)}
    chance = [
        np.abs(fused(of.score(usual)) - fused({"a": of.score(usual)["a/knn"]})).mean()
        for of in (plain, bank)
    ]
    assert chance[1] < chance[0]


def test_bands_are_compared_apart_where_vectors_have_them():
    x, cosine = (
        vectors(width=12).reshape(40, 3, 4),
        Scoring(distance="cosine", normalization="train"),
    )
    raw = NormalBank.fit({"a": cosine}, {"a": x}, table()).self_scores.values["a/knn"][:, 0]
    unit = x / np.linalg.norm(x.astype(np.float64), axis=2, keepdims=True)
    fold, distance = np.arange(40) % 10, 1 - np.einsum("nbd,mbd->nm", unit, unit) / 3
    np.testing.assert_allclose(
        raw, [distance[n, fold != fold[n]].min() for n in range(40)], rtol=1e-6
    )


def test_several_back_ends_judge_one_view_apart():
    two = Scoring(back_end="knn+mahalanobis", distance="euclidean")
    bank = NormalBank.fit({"a": two}, {"a": vectors()}, table())
    assert list(bank.score({"a": vectors(3)})) == ["a/knn", "a/mahalanobis"]
    np.testing.assert_array_equal(
        bank.self_scores.values["a/knn"], fit({"a": vectors()}).self_scores.values["a/knn"]
    )


def test_known_self_scores_are_kept_and_uncounted_ones_left_out():
    seven = SelfScores(np.ones(10, bool), {"a/knn": np.full((10, 1), 7.0)})
    known = Known(seven, seven, {"a": np.arange(40)})
    bank = fit({"a": vectors()}, known=known, scored=np.arange(40) != 39)
    assert (bank.self_scores.values["a/knn"][:10] == 7).all() and len(bank.normal) == 39
    assert bank.self_scores.of.tolist() == [True] * 39 + [False]


def test_two_domains_are_normalised_apart():
    domain = np.repeat(["source", "target"], [30, 10])
    x = vectors() * np.where(domain == "source", 1, 10)[:, None].astype(np.float32)
    bank = fit({"a": x}, domain)
    assert bank.domains == ["source", "target"] and bank.self_scores.values["a/knn"].shape == (
        40,
        2,
    )
    assert sorted(np.bincount(folds(domain, np.arange(40)))) == [4] * 10
    assert np.abs(bank.normal[30:]).mean() < 2  # ten times as far apart, and yet normal


def test_two_sounds_are_too_few():
    with pytest.raises(InputError, match="at least 3"):
        fit({"a": vectors(2)}, POOLED[:2])


def test_one_odd_sound_neither_hides_itself_nor_widens_the_scale():
    x = vectors()
    odd = x.copy()
    odd[7] += 100
    clean, contaminated = fit({"a": x}), fit({"a": odd})
    assert contaminated.normal[7] > 50
    of = [bank.standardization.statistics["a/knn"]["pooled"][1] for bank in (clean, contaminated)]
    assert of[1] < 1.5 * of[0]  # measured 1.02: a standard deviation grows tenfold


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


def test_simulated_windows_stand_for_sessions_that_nobody_recorded():
    x, session = vectors(), np.zeros(40, np.int64)
    copies = x + np.random.default_rng(5).normal(size=(40, 1)).astype(np.float32) * 20
    bank = fit({"a": x}, session=session, simulated=SimulatedWindows(np.arange(40), {"a": copies}))
    assert bank.by_sessions == {"pooled": False} and len(bank.training("a")[0]) == 80
    along, across = (
        np.tile(10 * np.array(of, np.float32), (1, 1)) for of in ([1] * 6, [1, -1] * 3)
    )
    odd = [float(fused(bank.score({"a": one}))[0]) for one in (along, across)]
    assert odd[1] > 2 * odd[0]


def test_a_view_on_trial_that_knows_no_new_session_is_not_heard():
    rng = np.random.default_rng(6)
    session = np.repeat(np.arange(5), 8)
    good = vectors()
    bad = (100 * rng.normal(size=(5, 6))[session] + rng.normal(size=(40, 6))).astype(np.float32)
    for tried, heard in ((bad, ("a/knn",)), (vectors(seed=1), ("a/knn", "b/knn"))):
        bank = fit({"a": good, "b": tried}, session=session, on_trial=("b",))
        assert bank.voting == heard or tried is not bad
        assert set(bank.score({"a": good[:3], "b": tried[:3]})) == set(bank.voting)


@pytest.mark.slow
def test_a_domain_of_few_recordings_raises_no_more_false_alarms_than_asked():
    rates = []
    for number, name in enumerate(("gearbox", "motor", "fan")):
        source, target = (
            healthy_views(name, domain, 10**6 * number + first)
            for domain, first in (("source", 0), ("target", 500_000))
        )
        rng = np.random.default_rng(number)
        for _ in range(12):
            s, t = rng.permutation(200), rng.permutation(200)
            known = {
                view: np.concatenate([source[view][s[:40]], target[view][t[:10]]])
                for view in source
            }
            windows = table(np.repeat(["source", "target"], [40, 10]))
            bank = NormalBank.fit(scoring_of(None, known), known, windows)
            threshold = weighted_quantile(bank.normal, np.arange(len(bank.normal)), 0.05)
            new = {view: target[view][t[10:]] for view in target}
            rates.append((fused(bank.score(new)) > threshold).mean())
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert np.mean(rates) - 2 * error <= 0.05, (np.mean(rates), error)


def healthy_views(name, domain, seed):
    """Returns {view: vectors of 200 healthy clips} of a machine of the factory."""
    states = list(itertools.product(MACHINES[name].speeds[domain], MACHINES[name].loads[domain]))
    waves = []
    for n in range(200):
        speed, load = states[n % len(states)]
        clip = factory_clip(
            name, domain=domain, speed=speed, load=load, seed=seed + n, clip_seconds=1.0
        )
        waves.append(clip.wave)
    return views(None, np.stack(waves))[0]


def test_simulated_windows_join_recorded_sessions_but_not_stretches_of_sound():
    x = vectors()
    session = np.repeat(np.arange(5), 8)
    twice = SimulatedWindows(np.tile(np.arange(40), 2), {"a": np.concatenate([x + 1, x + 2])})
    for named, expected in ((True, 80), (False, 40)):
        bank = fit({"a": x}, session=session, simulated=twice, named=named)
        found, domain = bank.training("a")
        assert len(found) == len(domain) == expected
    assert len(fit({"a": x}, session=np.zeros(40, int), simulated=twice).training("a")[0]) == 120
    left = np.arange(40) >= 8
    named = fit({"a": x}, session=session, simulated=twice, named=True)
    assert len(named.training("a", left)[0]) == 64  # a simulated window leaves with its own
