import itertools

import numpy as np
import pytest
from normal_sounds import fit, vectors

from asd_jax.data.machines import MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.views import scoring_of, views
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.new_session import weighted_quantile
from asd_jax.scoring.normal_windows import SimulatedWindows
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
    for named, expected in ((True, 80), (False, 40)):
        bank = fit({"a": x}, session=session, simulated=twice, named=named)
        found, domain = bank.training("a")
        assert len(found) == len(domain) == expected
    assert len(fit({"a": x}, session=np.zeros(40, int), simulated=twice).training("a")[0]) == 120
    left = np.arange(40) >= 8
    named = fit({"a": x}, session=session, simulated=twice, named=True)
    assert len(named.training("a", left)[0]) == 64  # a simulated window leaves with its own
