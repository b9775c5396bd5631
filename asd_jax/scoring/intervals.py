"""Confidence intervals of scores, and the paired comparison of two systems.

The jackknife and the bootstrap are computed by rank updates; the comparison is a paired bootstrap.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.auc import MAX_FPR, auc, pauc, tie_groups
from asd_jax.scoring.official_score import check_year, official_mean, section_columns

MOST_REPLICATES = 50_000  # for one bootstrap; takes 0.7 GB for a section of 200 clips


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """Leave-one-out estimate of one metric over pooled clips.

    Attributes:
        estimate: bias-corrected value.
        evaluator_half_width: half width of the 95 % interval as printed by the official evaluators
            of 2022-2025. They square the leave-one-out values where the cited paper, Mesaros 2019,
            squares the pseudo-values, so it is too narrow by a factor of n - 1.
        half_width: half width of the 95 % interval by the cited formula.
    """

    estimate: float
    evaluator_half_width: float
    half_width: float


@dataclasses.dataclass(frozen=True)
class Interval:
    """Bootstrap interval of a metric.

    Attributes:
        value: the metric on all clips.
        low: 2.5th percentile of the metric on resampled clips.
        high: 97.5th percentile of the metric on resampled clips.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Official score of system A minus that of system B.

    Attributes:
        difference: difference on all clips, averaged over seeds.
        low: 2.5th percentile of the resampled difference.
        high: 97.5th percentile of the resampled difference.
        p_value: two-sided p-value of the hypothesis "no difference".
    """

    difference: float
    low: float
    high: float
    p_value: float


def jackknife(label, score) -> dict[str, Jackknife]:
    """Returns {"auc": ..., "pauc": ...}: jackknife estimates over clips of all machines.

    Takes O(n log n). The formula is that of Mesaros et al., "Sound Event Detection in the DCASE
    2017 Challenge", section IV. The evaluator's interval of the official score is the mean of the
    two half widths.

    Args:
        label: 0 (normal) or 1 (anomaly) of each clip, "n".
        score: anomaly score of each clip, "n".

    Raises:
        InputError: fewer than two normal or two anomalous clips.
    """
    groups = tie_groups(label, score)
    auc_without, pauc_without = leave_one_out(label, score)
    return {
        "auc": _jackknife(float(auc(*groups)), auc_without),
        "pauc": _jackknife(float(pauc(*groups)), pauc_without),
    }


def _jackknife(value: float, left_out: np.ndarray) -> Jackknife:
    """Returns the jackknife of a metric from its value and the values without each clip "n"."""
    # The official score without intervals needs no SciPy, and its command starts without it.
    from scipy.special import stdtrit

    n = len(left_out)
    # As the evaluators compute it; see `Jackknife.evaluator_half_width`.
    error = np.sqrt(np.sum(np.square(left_out - left_out.mean())) / (n * (n - 1)))
    half_width = float(stdtrit(n - 1, 0.975) * error)
    # The jackknife's correction of the bias.
    estimate = n * value - (n - 1) * float(left_out.mean())
    return Jackknife(estimate, half_width, (n - 1) * half_width)


def leave_one_out(label, score, max_fpr: float = MAX_FPR) -> tuple[np.ndarray, np.ndarray]:
    """Returns the AUC "n" and the pAUC "n" without each clip in turn, computed exactly.

    Leaving out a normal clip removes its column from the area under the curve; leaving out an
    anomaly removes its steps. For the partial area, it also moves the cut. Prefix sums give all n
    values at once.
    """
    label = np.asarray(label)
    score = np.asarray(score)
    normals, anomalies = tie_groups(label, score)
    n = normals.sum()
    p = anomalies.sum()
    if n < 2 or p < 2:
        raise InputError(
            f"jackknife: needs two normal and two anomalous clips, found {n:.0f} and {p:.0f}"
        )
    end = np.cumsum(normals)
    column = np.cumsum(anomalies) - anomalies / 2  # area that one normal clip of the group adds
    area = np.sum(normals * column)
    # An anomaly wins against the normal clips below it, and half against those of its own group.
    without_anomaly = (area - (n - end + normals / 2)) / (n * (p - 1))
    without_normal = (area - column) / ((n - 1) * p)
    # The groups run from the highest score to the lowest.
    group = len(end) - 1 - np.unique(score, return_inverse=True)[1]
    partial_without_anomaly, partial_without_normal = _partial_areas(normals, anomalies, max_fpr)
    chance = max_fpr**2 / 2
    partial = np.where(label == 1, partial_without_anomaly[group], partial_without_normal[group])
    return (
        np.where(label == 1, without_anomaly[group], without_normal[group]),
        0.5 * (1 + (partial - chance) / (max_fpr - chance)),
    )


def _partial_areas(
    normals: np.ndarray, anomalies: np.ndarray, max_fpr: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the areas up to max_fpr without an anomaly, and without a normal clip, of each tie
    group.
    """
    n = normals.sum()
    p = anomalies.sum()
    above = np.cumsum(anomalies) - anomalies
    end = np.cumsum(normals)
    before = end - normals
    column = above + anomalies / 2
    area = np.cumsum(normals * column)

    # The area up to `cut` normal clips may end inside a tie group, where the curve is linear.
    def area_up_to(cut):
        g = np.searchsorted(end, cut)
        inside = cut - before[g]
        return (
            area[g]
            - normals[g] * column[g]
            + inside * (above[g] + inside * anomalies[g] / 2 / max(normals[g], 1))
        )

    cut = max_fpr * n
    inside = np.clip(max_fpr * n - before, 0, normals)
    # Area up to the cut that one anomaly adds.
    steps = np.maximum(cut - end, 0) + inside**2 / 2 / np.maximum(normals, 1)
    # The cut stays, and every group loses the area that one of its anomalies adds.
    without_anomaly = (area_up_to(cut) - steps) / (n * (p - 1))
    # One normal clip fewer moves the cut.
    cut = max_fpr * (n - 1)
    inside = np.clip(cut - before, 0, None)
    without_normal = np.select(
        [end - 1 <= cut, before >= cut],
        [
            # The cut lies behind the group.
            area_up_to(cut + 1) - column,
            # The cut lies in front of the group.
            area_up_to(cut),
        ],
        area
        - normals * column
        + inside * (above + inside * anomalies / 2 / np.maximum(normals - 1, 1)),
    ) / ((n - 1) * p)
    return without_anomaly, without_normal


def bootstrap(
    clips: Iterable[tuple], scores: ArrayLike, year: int, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """Returns the 95 % bootstrap interval of the official score.

    Clips are drawn with replacement within each machine, section, domain and label. If there are
    several seeds, they are drawn with replacement too.

    Args:
        clips: (machine, section, domain, label) of each clip.
        scores: anomaly scores "n" or "seeds n".
        year: the year whose rule defines the official score.
        replicates: number of resampled scores, at most 50,000.
        seed: seed of the random draws.

    Raises:
        InputError: the year, the seed or the number of replicates is invalid, or the numbers of
            clips and scores differ.
    """
    rng = _generator(seed, replicates)
    scores = np.atleast_2d(np.asarray(scores, np.float64))
    value, drawn = _resampled(list(clips), scores, year, replicates, rng)
    low, high = np.quantile(_over_seeds(drawn, _drawn_seeds(drawn, rng)), (0.025, 0.975))
    return Interval(float(value.mean()), float(low), float(high))


def section_intervals(domain, label, score, year: int) -> dict[str, Interval]:
    """Returns {column of the year's rule: 95 % interval} for the clips "n" of one section.

    Clips are drawn as in `bootstrap`. Columns without normal clips or without anomalies are left
    out.
    """
    # A fixed seed, so that the same scores give the same page.
    weight = _drawn_counts(domain, label, 1000, np.random.default_rng(0))
    found = {}
    for column, (metric, mask) in section_columns(domain, label, year).items():
        if len(set(label[mask].tolist())) < 2:
            continue
        value, *drawn = metric(*tie_groups(label[mask], score[mask], weight[:, mask]))
        # Row 0 of the weights has every clip once, so `value` is the metric itself.
        found[column] = Interval(
            float(value), *(float(q) for q in np.quantile(drawn, (0.025, 0.975)))
        )
    return found


def paired_bootstrap(
    clips: Iterable[tuple],
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    year: int,
    *,
    same_seeds: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Returns the difference between the official scores of A and B on the same clips.

    Each replicate scores both systems on the same resampled clips, and on seeds drawn separately
    for each system.

        found = paired_bootstrap(clips, scores_a, scores_b, year=2024)
        found.difference, found.low, found.high  # A is better if all are positive

    Args:
        clips: (machine, section, domain, label) of each clip.
        scores_a: anomaly scores of A, "n" or "seeds n".
        scores_b: anomaly scores of B, "n" or "seeds n".
        year: the year whose rule defines the official score.
        same_seeds: whether seed i of A and seed i of B belong together, as for two ways to score
            the same run; both systems then use the same drawn seeds.
        replicates: number of resampled differences, at most 50,000.
        seed: seed of the random draws.

    Raises:
        InputError: the numbers of clips or, with same_seeds, of seeds differ, or as for
            `bootstrap`.
    """
    rng = _generator(seed, replicates)
    a, b = (np.atleast_2d(np.asarray(scores, np.float64)) for scores in (scores_a, scores_b))
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"paired bootstrap: {a.shape[1]} clips of A but {b.shape[1]} of B; both must score "
            "the same"
        )
    # Both systems go through one call, so that they share the drawn clips.
    value, drawn = _resampled(list(clips), np.concatenate([a, b]), year, replicates, rng)
    if same_seeds and len(a) != len(b):
        raise InputError(
            f"paired bootstrap: {len(a)} seeds of A but {len(b)} of B; the same seeds are needed"
        )
    drawn_a = drawn[: len(a)]
    drawn_b = drawn[len(a) :]
    seeds_a = _drawn_seeds(drawn_a, rng)
    seeds_b = seeds_a if same_seeds else _drawn_seeds(drawn_b, rng)
    difference = _over_seeds(drawn_a, seeds_a) - _over_seeds(drawn_b, seeds_b)
    low, high = np.quantile(difference, (0.025, 0.975))
    tail = min(np.sum(difference <= 0), np.sum(difference >= 0))
    return Comparison(
        difference=float(value[: len(a)].mean() - value[len(a) :].mean()),
        low=float(low),
        high=float(high),
        # Adding 1 counts the observed difference as a replicate, so the p-value is never 0.
        p_value=float(min(1.0, 2 * (tail + 1) / (replicates + 1))),
    )


def _generator(seed: int, replicates: int) -> np.random.Generator:
    if seed < 0 or not 1 <= replicates <= MOST_REPLICATES:
        raise InputError(
            f"bootstrap: seed {seed} must be at least 0, and {replicates} replicates must be 1 to "
            f"{MOST_REPLICATES}"
        )
    return np.random.default_rng(seed)


def _resampled(clips, scores, year, replicates, rng):
    """Returns the official scores "s" of the systems, and "s replicates" on resampled clips."""
    check_year(year)
    if not clips or len(clips) != scores.shape[1]:
        raise InputError(f"bootstrap: {len(clips)} clips but {scores.shape[1]} scores")
    # np.unique needs a single key per clip, so machine and section are joined.
    place = np.unique([f"{clip[0]}\n{clip[1]}" for clip in clips], return_inverse=True)[1]
    domain = np.array([clip[2] for clip in clips])
    label = np.array([clip[3] for clip in clips])
    values = []
    for one in range(place.max() + 1):
        here = np.flatnonzero(place == one)
        weight = _drawn_counts(domain[here], label[here], replicates, rng)
        for metric, mask in section_columns(domain[here], label[here], year).values():
            own = here[mask]
            values.append(
                # All systems share the drawn weights, which makes a comparison paired.
                [metric(*tie_groups(label[own], system[own], weight[:, mask])) for system in scores]
            )
    means = official_mean([np.array(values)], year)
    return means[:, 0], means[:, 1:]


def _drawn_counts(domain, label, replicates, rng):
    """Returns how often each clip is drawn, "replicates + 1 n"; row 0 has every clip once."""
    counts = np.ones((replicates + 1, len(label)))
    for stratum in sorted({*zip(domain.tolist(), label.tolist(), strict=True)}):
        members = np.flatnonzero((domain == stratum[0]) & (label == stratum[1]))
        # How often n draws hit each of n clips: the scores are then sorted once for all replicates.
        counts[1:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=replicates
        )
    return counts


def _drawn_seeds(drawn, rng):
    """Returns the seeds of each replicate, "seeds replicates", drawn with replacement."""
    return rng.integers(len(drawn), size=drawn.shape)


def _over_seeds(drawn, seeds):
    """Returns the mean "replicates" of scores "seeds replicates" over the drawn seeds."""
    return drawn[seeds, np.arange(drawn.shape[1])].mean(0)
