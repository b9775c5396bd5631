import dataclasses

import numpy as np
import pytest
import scipy.stats
from scoring.test_auc import random_case
from sklearn.metrics import roc_auc_score

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.auc import auc, pauc, tie_groups
from asd_jax.scoring.intervals import (
    _drawn_counts,
    _drawn_seeds,
    _generator,
    _over_seeds,
    bootstrap,
    jackknife,
    leave_one_out,
    paired_bootstrap,
    section_intervals,
)
from asd_jax.scoring.official_score import official_score


def test_leave_one_out_is_scikit_learns_without_each_clip_in_turn():
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(5):
        label, score = random_case(rng)
        label = np.r_[label, 0, 1]
        score = np.r_[score, score[:2]]
        found = leave_one_out(label, score)
        for i in range(len(label)):
            rest = np.arange(len(label)) != i
            worst = max(worst, abs(found[0][i] - roc_auc_score(label[rest], score[rest])))
            worst = max(
                worst, abs(found[1][i] - roc_auc_score(label[rest], score[rest], max_fpr=0.1))
            )
    assert worst <= 4.5e-16  # measured 1.1e-16 to 2.2e-16


def test_leaving_out_is_exact_whatever_the_ties():
    """Many small sets of clips; the metrics themselves are compared with scikit-learn's."""
    rng = np.random.default_rng(7)
    worst = 0.0
    for _ in range(60):
        label = rng.permutation(np.r_[0, 0, 1, 1, rng.integers(0, 2, rng.integers(0, 30))])
        score = np.round(rng.normal(size=len(label)) * rng.choice([0.5, 2, 100]))
        found = leave_one_out(label, score)
        rest = [np.delete(np.arange(len(label)), i) for i in range(len(label))]
        for metric, values in zip((auc, pauc), found, strict=True):
            expected = [metric(*tie_groups(label[r], score[r])) for r in rest]
            worst = max(worst, np.abs(values - expected).max())
    assert worst <= 7e-16  # measured 3.4e-16


def test_two_clips_of_each_kind_are_enough_for_a_jackknife():
    label = [0, 1, 0, 1]
    assert leave_one_out(label, [1.0, 2.0, 3.0, 4.0])[0].tolist() == [0.5, 1, 1, 0.5]
    for few in ([0, 1, 1, 1], [0, 0, 0, 1]):
        with pytest.raises(InputError, match="jackknife: needs two normal and two anomalous clips"):
            leave_one_out(few, [1.0, 2.0, 3.0, 4.0])


def test_jackknife_follows_the_evaluators_formula_and_the_cited_one():
    label, score = random_case(np.random.default_rng(3))
    n = len(label)
    rest = [np.delete(np.arange(n), i) for i in range(n)]
    for name, fpr in (("auc", None), ("pauc", 0.1)):
        whole = roc_auc_score(label, score, max_fpr=fpr)
        without = np.array([roc_auc_score(label[r], score[r], max_fpr=fpr) for r in rest])
        pseudo = n * whole - (n - 1) * without
        t = scipy.stats.t.ppf(0.975, n - 1)
        found = jackknife(label, score)[name]
        assert found.estimate == pytest.approx(pseudo.mean(), abs=1e-11)
        assert found.half_width == pytest.approx(t * pseudo.std(ddof=1) / np.sqrt(n), rel=1e-10)
        assert found.evaluator_half_width == pytest.approx(
            t * without.std(ddof=1) / np.sqrt(n), rel=1e-10
        )


def test_jackknife_of_a_single_anomaly_is_an_error():
    with pytest.raises(InputError, match="two anomalous"):
        jackknife([0, 0, 0, 1], [1.0, 2.0, 3.0, 4.0])


def some_clips(rng, machines=2, each=25):
    """Clips of both domains and labels, and scores in which anomalies stand out by one standard
    deviation.
    """
    clips = [
        (m, "00", d, y)
        for m in map(str, range(machines))
        for d in ("source", "target")
        for y in (0, 1)
    ] * each
    return clips, rng.normal(size=len(clips)) + np.array([clip[3] for clip in clips])


@pytest.mark.parametrize("year", [2020, 2021, 2024])
def test_the_bootstrap_starts_from_the_official_score(year):
    clips, score = some_clips(np.random.default_rng(0))
    whole = official_score(
        [(*c, s) for c, s in zip(clips, score, strict=True)], year
    ).official_score
    interval = bootstrap(clips, score, year, replicates=200)
    assert interval.value == pytest.approx(whole, abs=1e-14)
    assert interval.low < whole < interval.high
    other = official_score(
        [(*c, -s) for c, s in zip(clips, score, strict=True)], year
    ).official_score
    seeds = bootstrap(clips, np.stack([score, -score, -score]), year, replicates=200)
    assert seeds.value == pytest.approx((whole + 2 * other) / 3, abs=1e-14)


DRAWN = np.linspace(0, 1, 1001)  # of each percentile, its place


def test_an_interval_holds_the_middle_95_percent_of_what_is_drawn(monkeypatch):
    def drawn(clips, scores, year, replicates, rng):
        return np.full(len(scores), 0.3), np.tile(DRAWN, (len(scores), 1))

    monkeypatch.setattr("asd_jax.scoring.intervals._resampled", drawn)
    found = bootstrap([()], np.zeros((3, 1)), 2024)
    assert dataclasses.astuple(found) == pytest.approx((0.3, 0.025, 0.975))


def test_a_comparison_is_of_the_differences_that_are_drawn(monkeypatch):
    """A has two seeds, which are equal, so that the drawn seeds do not matter."""
    a = np.array([-1.0, 0, 0, 1, 2, 3, 4, 5, 6])
    b = np.linspace(0.1, 0.9, 9)

    def drawn(clips, scores, year, replicates, rng):
        return np.array([0.5, 0.7, 0.2]), np.stack([a + b, a + b, b])

    monkeypatch.setattr("asd_jax.scoring.intervals._resampled", drawn)
    monkeypatch.setattr("asd_jax.scoring.intervals._over_seeds", lambda of, seeds: of[0].round(9))
    found = paired_bootstrap([()], np.zeros((2, 1)), np.zeros(1), 2024, replicates=9)
    assert found.difference == pytest.approx(0.6 - 0.2)
    low, high = np.quantile(a, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high))
    # Three of nine are not above 0, and the observed one counts on both sides.
    assert found.p_value == pytest.approx(2 * 4 / 10)


def test_draws_keep_the_number_of_clips_of_each_domain_and_label():
    rng = np.random.default_rng(0)
    domain = np.repeat(["source", "target"], [8, 5])
    label = np.array([0, 1] * 6 + [0])
    counts = _drawn_counts(domain, label, 300, rng)
    assert counts.shape == (301, 13) and (counts[0] == 1).all()
    for stratum in {*zip(domain.tolist(), label.tolist(), strict=True)}:
        own = (domain == stratum[0]) & (label == stratum[1])
        assert (counts[:, own].sum(1) == own.sum()).all()
        assert counts[1:, own].std() > 0.5
    assert counts[1:].mean(0) == pytest.approx(np.ones(13), abs=0.25)


def test_seeds_are_drawn_for_each_replicate():
    rng = np.random.default_rng(0)
    seeds = _drawn_seeds(np.zeros((3, 500)), rng)
    assert seeds.shape == (3, 500) and set(seeds.ravel()) == {0, 1, 2}
    drawn = np.arange(6.0).reshape(3, 2)
    assert _over_seeds(drawn, np.array([[0, 2], [0, 2], [1, 2]])).tolist() == [2 / 3, 5]


def test_a_thousand_replicates_from_seed_0_are_the_default():
    clips, score = some_clips(np.random.default_rng(0), each=5)
    given = {"replicates": 1000, "seed": 0}
    assert bootstrap(clips, score, 2024) == bootstrap(clips, score, 2024, **given)
    assert bootstrap(clips, score, 2024) != bootstrap(clips, score, 2024, seed=1)
    other = score[::-1].copy()
    assert paired_bootstrap(clips, score, other, 2024) == paired_bootstrap(
        clips, score, other, 2024, **given
    )


def test_the_number_of_replicates_lies_in_its_range():
    clips = [("fan", "00", d, y) for d in ("source", "target") for y in (0, 1)]
    one = bootstrap(clips, np.arange(4.0), 2024, replicates=1)
    assert one.low == one.high
    assert _generator(0, 50_000).random() == np.random.default_rng(0).random()
    with pytest.raises(InputError, match="50001 replicates must be 1 to 50000"):
        bootstrap(clips, np.arange(4.0), 2024, replicates=50_001)


def test_what_cannot_be_resampled_is_said():
    clips = [("fan", "00", d, y) for d in ("source", "target") for y in (0, 1)]
    with pytest.raises(InputError, match="^year 2019: "):
        bootstrap(clips, np.arange(4.0), 2019)
    with pytest.raises(InputError, match="^bootstrap: 4 clips but 3 scores$"):
        bootstrap(clips, np.arange(3.0), 2024)
    with pytest.raises(InputError, match="^bootstrap: 0 clips but 0 scores$"):
        bootstrap([], np.empty(0), 2024)


def test_bootstrap_replicates_equal_scoring_the_drawn_clips(monkeypatch):
    rng = np.random.default_rng(0)
    clips, score = some_clips(rng, machines=1)
    # the same counts for each of the four strata
    drawn = rng.multinomial(25, np.full(25, 1 / 25), size=4)
    monkeypatch.setattr(
        "asd_jax.scoring.intervals._drawn_counts",
        lambda *_: np.repeat(np.stack([np.ones(25, int), *drawn]), 4, axis=1),
    )
    from asd_jax.scoring.intervals import _resampled

    _, found = _resampled(clips, score[None], 2024, 4, rng)
    for row, counts in enumerate(drawn):
        rows = np.repeat(np.arange(len(clips)), np.repeat(counts, 4))
        expected = official_score([(*clips[i], score[i]) for i in rows], 2024).official_score
        assert found[0, row] == pytest.approx(expected, abs=1e-14)


def test_bootstrap_width_agrees_with_repeated_data_sets():
    rng = np.random.default_rng(0)
    true = np.std(
        [
            official_score(
                [(*c, s) for c, s in zip(*some_clips(rng), strict=True)], 2024
            ).official_score
            for _ in range(200)
        ]
    )
    widths = [bootstrap(*some_clips(rng), 2024, replicates=200) for _ in range(20)]
    # sampling error of 200
    assert np.mean([(w.high - w.low) / 3.92 for w in widths]) == pytest.approx(true, rel=0.2)


def test_the_paired_bootstrap_sees_what_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    clips, score = some_clips(rng, each=50)
    better = score + 0.15 * np.array([clip[3] for clip in clips])
    found = paired_bootstrap(clips, better, score, 2024)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value == pytest.approx(2 / 1001)  # none of 1000 replicates on the other side
    a = bootstrap(clips, better, 2024)
    b = bootstrap(clips, score, 2024)
    assert a.low < b.high  # the intervals of the two systems overlap


def test_a_system_is_no_better_than_itself_and_a_swap_turns_the_sign():
    clips, score = some_clips(np.random.default_rng(0))
    same = paired_bootstrap(clips, score, score, 2024, replicates=100)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    other = score[::-1].copy()
    one, two = (
        paired_bootstrap(clips, *pair, 2024, replicates=100)
        for pair in ((score, other), (other, score))
    )
    assert (one.difference, one.low, one.p_value) == pytest.approx(
        (-two.difference, -two.high, two.p_value)
    )


def test_seeds_widen_the_comparison():
    rng = np.random.default_rng(0)
    clips, score = some_clips(rng)
    seeds = score + rng.normal(size=(4, len(score)))
    one = paired_bootstrap(clips, seeds[0], score, 2024)
    several = paired_bootstrap(clips, seeds, score, 2024)
    assert several.p_value < 0.05  # noise makes it worse, whatever the seed
    values = [
        official_score([(*c, s) for c, s in zip(clips, of, strict=True)], 2024).official_score
        for of in (*seeds, score)
    ]
    assert several.difference == pytest.approx(np.mean(values[:4]) - values[4], abs=1e-14)
    assert one.high - one.low != several.high - several.low
    with pytest.raises(InputError, match="same"):
        paired_bootstrap(clips, score, score[:-1], 2024)


def test_the_same_seeds_cancel_where_seeds_belong_together():
    rng = np.random.default_rng(0)
    clips, score = some_clips(rng)
    seeds = score + 2 * rng.normal(size=(4, len(score)))
    same = paired_bootstrap(clips, seeds, 3 * seeds, 2024, same_seeds=True, replicates=200)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert paired_bootstrap(clips, seeds, 3 * seeds, 2024, replicates=200).high > 0
    with pytest.raises(InputError, match="4 seeds of A but 1 of B"):
        paired_bootstrap(clips, seeds, score, 2024, same_seeds=True)


@pytest.mark.parametrize("wrong", [{"replicates": 10**9}, {"replicates": 0}, {"seed": -1}])
def test_a_bootstrap_that_no_memory_holds_or_no_seed_begins_is_refused(wrong):
    clips = [("fan", "00", d, y) for d in ("source", "target") for y in (0, 1)]
    with pytest.raises(InputError, match="bootstrap: seed .* replicates"):
        bootstrap(clips, np.arange(4.0), 2024, **wrong)
    with pytest.raises(InputError, match="bootstrap: seed .* replicates"):
        paired_bootstrap(clips, np.arange(4.0), np.arange(4.0), 2024, **wrong)


def test_a_section_has_an_interval_around_each_of_its_values_that_has_both_kinds_of_clips():
    rng = np.random.default_rng(0)
    domain = np.repeat(["source", "target"], 60)
    label = np.tile([0, 1], 60)
    score = label + rng.normal(size=120)
    found = section_intervals(domain, label, score, 2024)
    assert set(found) == {"auc_source", "auc_target", "pauc"}
    for name in ("source", "target"):
        # since 2022 with the anomalies of both domains
        mask = (domain == name) | (label == 1)
        column = found[f"auc_{name}"]
        assert column.value == pytest.approx(roc_auc_score(label[mask], score[mask]), abs=1e-15)
        assert 0.05 < column.high - column.low < 0.3 and column.low < column.value < column.high
        counts = _drawn_counts(domain, label, 1000, np.random.default_rng(0))[1:, mask]
        drawn = auc(*tie_groups(label[mask], score[mask], counts))
        expected = np.quantile(drawn, (0.025, 0.975))
        assert (column.low, column.high) == pytest.approx(tuple(expected), abs=1e-15)
    source = domain == "source"
    alone = section_intervals(domain[source], label[source], score[source], 2024)
    assert set(alone) == {"auc_source", "pauc"}  # no normal clip of the target domain
    assert section_intervals(domain, 0 * label, score, 2024) == {}
