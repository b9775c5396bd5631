import numpy as np
import pytest
import scipy.stats
from scoring.test_auc import random_case
from sklearn.metrics import roc_auc_score

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.intervals import (
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
    source = domain == "source"
    alone = section_intervals(domain[source], label[source], score[source], 2024)
    assert set(alone) == {"auc_source", "pauc"}  # no normal clip of the target domain
    assert section_intervals(domain, 0 * label, score, 2024) == {}
