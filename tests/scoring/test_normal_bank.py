import dataclasses
import itertools
import pickle
import re

import numpy as np
import pytest
from normal_sounds import fit, vectors

from asd_jax.data.machines import MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.views import scoring_of, views
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.new_session import (
    median_and_deviation,
    weighted_quantile,
    widening_for_few,
)
from asd_jax.scoring.normal_windows import SelfScores, SimulatedWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import folds


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
    plain = fit(x)
    bank = fit(x, reserved=("b",))
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


def test_several_back_ends_judge_one_view_apart():
    two = Scoring(back_end="knn+mahalanobis", distance="euclidean")
    bank = fit({"a": vectors()}, scoring={"a": two})
    assert list(bank.score({"a": vectors(3)})) == ["a/knn", "a/mahalanobis"]
    np.testing.assert_array_equal(
        bank.self_scores.values["a/knn"], fit({"a": vectors()}).self_scores.values["a/knn"]
    )


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


def test_one_odd_sound_neither_hides_itself_nor_widens_the_scale():
    x = vectors()
    odd = x.copy()
    odd[7] += 100
    clean = fit({"a": x})
    contaminated = fit({"a": odd})
    assert contaminated.normal[7] > 50
    of = [bank.standardization.statistics["a/knn"]["pooled"][1] for bank in (clean, contaminated)]
    assert of[1] < 1.5 * of[0]  # measured 1.02: a standard deviation grows tenfold


def far_sessions(session, shift=10.0, seed=3):
    """Vectors whose sessions lie far apart."""
    rng = np.random.default_rng(seed)
    centre = shift * rng.normal(size=(session.max() + 1, 6))[session]
    return (centre + rng.normal(size=(len(session), 6))).astype(np.float32)


FIVE = np.repeat(np.arange(5), 8)


def standardized(scores, of):
    """Scores in deviations of others, which are widened for forty recordings."""
    usual, deviation = median_and_deviation(of)
    return (scores - usual) / (deviation * widening_for_few(40))


@pytest.mark.parametrize("session", [FIVE, np.zeros(40, int)], ids=["sessions", "one session"])
def test_scores_are_in_deviations_of_sounds_of_known_sessions(session):
    """Where no sessions can be compared, those of simulated ones stand for them."""
    x = far_sessions(session)
    copies = SimulatedWindows(np.arange(40), {"a": x + 3 * vectors(seed=9)})
    bank = fit({"a": x}, session=session, simulated=copies)
    own = bank.self_scores.values["a/knn"][:, 0]
    new = bank.new_session_scores.values["a/knn"][:, 0]
    assert np.median(new) > np.median(own)
    of = own if session is FIVE else new
    assert bank.normal == pytest.approx(standardized(new, of), abs=1e-12)
    assert bank.fused_self_scores == pytest.approx(standardized(own, of), abs=1e-12)
    assert bank.deviations == pytest.approx(standardized(own, own), abs=1e-12)
    test = vectors(5, 2)
    to = np.linalg.norm(test[:, None].astype(np.float64) - bank.training("a")[0], axis=2).min(1)
    assert bank.score({"a": test})["a/knn"] == pytest.approx(standardized(to, of), abs=1e-5)


def test_the_larger_of_two_scales_divides_the_scores_of_its_domain():
    domain = np.tile(["source", "target"], 20)
    session = np.arange(40) // 8
    x = far_sessions(session) * np.where(domain == "target", 1, 0.01)[:, None]
    x += np.where(domain == "target", 0, 1000)[:, None]
    bank = fit({"a": x.astype(np.float32)}, domain, session=session)
    scale = bank.standardization.scale
    assert min(scale.values()) == 1 < max(scale.values())
    plain = dataclasses.replace(bank.standardization, scale=dict.fromkeys(scale, 1.0))
    for name in scale:
        own = domain == name
        scores = {"a/knn": bank.new_session_scores.values["a/knn"][own]}
        ratio = plain(scores)["a/knn"] / bank.normal[own]
        assert ratio == pytest.approx(np.full(20, scale[name]))
    # Deviations have no scale: they are those of the self-scores.
    own = bank.own_statistics["a/knn"]
    each = [
        (bank.self_scores.values["a/knn"][:, n] - own[name][0]) / own[name][1]
        for n, name in enumerate(("source", "target"))
    ]
    assert bank.deviations == pytest.approx(np.min(each, axis=0), abs=1e-12)


def test_recordings_stand_for_sessions_where_none_can_be_left_out():
    domain = np.repeat(["source", "target"], [24, 16])
    session = np.concatenate([np.repeat(np.arange(4), 6), np.full(16, 4)])
    scored = np.arange(40) != 39
    bank = fit({"a": vectors()}, domain, session=session, scored=scored)
    assert bank.of_compared_sessions.tolist() == [True] * 24 + [False] * 16
    expected = [*session[:24], *(5 + np.arange(24, 39))]
    assert bank.normal_session.tolist() == expected


@pytest.mark.parametrize(("counts", "compared"), [((20, 10, 10), True), ((20, 20), False)])
def test_three_sessions_of_at_most_half_of_the_windows_can_be_compared(counts, compared):
    session = np.repeat(np.arange(len(counts)), counts)
    assert fit({"a": vectors()}, session=session).by_sessions == {"pooled": compared}


def test_a_bank_that_no_sound_can_be_compared_with_is_refused():
    bank = fit({"a": vectors()})
    bank.check()
    three = SelfScores(np.arange(40) < 3, {"a/knn": np.array([[1.0], [2.0], [3.0]])})
    dataclasses.replace(bank, self_scores=three).check()
    two = SelfScores(np.arange(40) < 2, {"a/knn": np.array([[1.0], [2.0]])})
    with pytest.raises(InputError, match="^2 normal sounds that count: fewer than 3$"):
        dataclasses.replace(bank, self_scores=two).check()
    said = "2 recordings in the bank of pooled sounds (a), where copies, and silent ones, count as"
    with pytest.raises(InputError, match=f"^{re.escape(said)} one: at least 3 are needed"):
        dataclasses.replace(bank, rows={"a": np.array([4, 4, 7])}).check()
    dataclasses.replace(bank, rows={"a": np.array([4, 8, 7])}).check()


def test_scores_that_differ_by_rounding_alone_are_equal():
    bank = fit({"a": vectors()}, np.repeat(["source", "target"], 20))
    every = np.ones(40, bool)
    for difference, equal in ((0, True), (0.9e-9, True), (1.1e-9, False)):
        scores = np.full((40, 2), 5.0)
        scores[25, 1] *= 1 + difference
        scores[25, 0] = 7  # a score of the other bank says nothing
        other = dataclasses.replace(bank, self_scores=SelfScores(every, {"a/knn": scores}))
        if equal:
            said = "the scores that a/knn gives normal sounds are all equal"
            with pytest.raises(InputError, match=f"^{said}$"):
                other.check()
        else:
            other.check()


def test_a_bank_that_has_scored_can_be_pickled():
    bank = fit({"a": vectors()})
    scores = bank.score({"a": vectors(3, 2)})["a/knn"]
    again = pickle.loads(pickle.dumps(bank))
    assert np.array_equal(again.score({"a": vectors(3, 2)})["a/knn"], scores)
    assert set(bank.__getstate__()) == {field.name for field in dataclasses.fields(bank)}


def test_a_view_on_trial_does_not_learn_from_simulated_windows():
    x = {"a": vectors(), "b": vectors(seed=1)}
    session = np.zeros(40, int)
    simulated = SimulatedWindows(np.array([7, 3]), {name: of[:2] + 9 for name, of in x.items()})
    bank = fit(x, session=session, simulated=simulated, on_trial=("b",))
    found, domain = bank.training("a", np.arange(40) != 7)
    kept = np.delete(x["a"], 7, axis=0)
    assert np.array_equal(found, np.concatenate([kept, x["a"][1:2] + 9])) and len(domain) == 40
    assert np.array_equal(bank.training("b")[0], x["b"])


def test_simulated_windows_stand_for_sessions_that_nobody_recorded():
    x = vectors()
    session = np.zeros(40, np.int64)
    copies = x + np.random.default_rng(5).normal(size=(40, 1)).astype(np.float32) * 20
    bank = fit({"a": x}, session=session, simulated=SimulatedWindows(np.arange(40), {"a": copies}))
    assert bank.by_sessions == {"pooled": False} and len(bank.training("a")[0]) == 80
    along, across = (
        np.tile(10 * np.array(of, np.float32), (1, 1)) for of in ([1] * 6, [1, -1] * 3)
    )
    odd = [float(fused(bank.score({"a": one}))[0]) for one in (along, across)]
    assert odd[1] > 2 * odd[0]


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
            s = rng.permutation(200)
            t = rng.permutation(200)
            known = {
                view: np.concatenate([source[view][s[:40]], target[view][t[:10]]])
                for view in source
            }
            domain = np.repeat(["source", "target"], [40, 10])
            bank = fit(known, domain, scoring=scoring_of(None, known))
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
    for options, expected in (({"named": True}, [x, x + 1]), ({}, [x])):
        bank = fit({"a": x}, session=session, simulated=twice, **options)
        found, domain = bank.training("a")
        assert np.array_equal(found, np.concatenate(expected)) and len(domain) == len(found)
    assert len(fit({"a": x}, session=np.zeros(40, int), simulated=twice).training("a")[0]) == 120
    left = np.arange(40) >= 8
    named = fit({"a": x}, session=session, simulated=twice, named=True)
    assert len(named.training("a", left)[0]) == 64  # a simulated window leaves with its own
