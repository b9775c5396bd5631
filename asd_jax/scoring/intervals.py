"""How sure is a score? Jackknife and bootstrap by rank updates, and the paired bootstrap between
two systems.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.auc import MAX_FPR, auc, pauc, tie_groups
from asd_jax.scoring.official_score import check_year, official_mean, section_columns

MOST_REPLICATES = 50_000  # of a bootstrap: 0.7 GB for a section of 200 clips


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """Leave-one-out estimate of one metric over pooled clips.

    Attributes:
        estimate: bias-corrected value.
        evaluator_half_width: of the 95 % interval as the official evaluators 2022-2025 print it.
            They square the leave-one-out values where Mesaros 2019, whom they cite, squares the
            pseudo-values: n - 1 times too narrow.
        half_width: of the 95 % interval by the cited formula.
    """

    estimate: float
    evaluator_half_width: float
    half_width: float


@dataclasses.dataclass(frozen=True)
class Interval:
    """Bootstrap interval: the value on all clips, and the percentiles 2.5 and 97.5 of the resampled
    ones.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Official score of A minus that of B.

    Attributes:
        difference: on all clips, mean over seeds.
        low: 2.5 % percentile of the resampled difference.
        high: 97.5 % percentile.
        p_value: two-sided, of "no difference".
    """

    difference: float
    low: float
    high: float
    p_value: float


def jackknife(label, score) -> dict[str, Jackknife]:
    """Labels and scores "n" of the pooled clips of all machines -> {"auc", "pauc"}; O(n log n).

    Mesaros et al., "Sound Event Detection in the DCASE 2017 Challenge", section IV. The evaluator's
    interval of the official score is the mean of the two half widths.

    Raises:
        InputError: fewer than two normal or two anomalous clips.
    """
    from scipy import stats

    n, groups = len(label), tie_groups(label, score)
    found = {}
    for name, metric, left_out in zip(
        ("auc", "pauc"), (auc, pauc), leave_one_out(label, score), strict=True
    ):
        spread = np.sqrt(np.sum(np.square(left_out - left_out.mean())) / (n * (n - 1)))
        half_width = float(stats.t.ppf(0.975, n - 1) * spread)
        estimate = n * float(metric(*groups)) - (n - 1) * float(left_out.mean())
        found[name] = Jackknife(estimate, half_width, (n - 1) * half_width)
    return found


def leave_one_out(label, score, max_fpr: float = MAX_FPR) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores "n" -> AUC "n" and pAUC "n" without each clip in turn, exact.

    Leaving a clip out takes its column (a normal) or its steps (an anomaly) out of the area under
    the curve; of the partial area it also moves the cut. Prefix sums give all n values at once.
    """
    label, score = np.asarray(label), np.asarray(score)
    normals, anomalies = tie_groups(label, score)
    n, p = normals.sum(), anomalies.sum()
    if n < 2 or p < 2:
        raise InputError(
            f"jackknife: needs two normal and two anomalous clips, found {n:.0f} and {p:.0f}"
        )
    above, end = np.cumsum(anomalies) - anomalies, np.cumsum(normals)
    before, area = end - normals, np.cumsum(normals * (above + anomalies / 2))
    column = above + anomalies / 2  # what one normal of the group adds to the area
    without_anomaly = (area[-1] - (n - end + normals / 2)) / (n * (p - 1))
    without_normal = (area[-1] - column) / ((n - 1) * p)

    def area_up_to(cut):
        g = np.searchsorted(end, cut)
        inside = cut - before[g]
        return (
            area[g]
            - normals[g] * column[g]
            + inside * (above[g] + inside * anomalies[g] / 2 / max(normals[g], 1))
        )

    cut, inside = max_fpr * n, np.clip(max_fpr * n - before, 0, normals)
    # area that one anomaly adds
    steps = np.maximum(cut - end, 0) + inside**2 / 2 / np.maximum(normals, 1)
    partial_without_anomaly = (area_up_to(cut) - steps) / (n * (p - 1))
    cut = max_fpr * (n - 1)
    inside = np.clip(cut - before, 0, None)
    partial_without_normal = np.select(
        [end - 1 <= cut, before >= cut],
        [
            area_up_to(cut + 1) - column,
            area_up_to(cut),
        ],  # the cut lies behind the group, or in front of it
        area
        - normals * column
        + inside * (above + inside * anomalies / 2 / np.maximum(normals - 1, 1)),
    ) / ((n - 1) * p)

    group = len(end) - 1 - np.unique(score, return_inverse=True)[1]
    chance = max_fpr**2 / 2
    partial = np.where(label == 1, partial_without_anomaly[group], partial_without_normal[group])
    return (
        np.where(label == 1, without_anomaly[group], without_normal[group]),
        0.5 * (1 + (partial - chance) / (max_fpr - chance)),
    )


def bootstrap(
    clips: Iterable[tuple], scores, year: int, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """Clips (machine, section, domain, label) and scores "n" or "seeds n" -> 95 % interval of the
    official score.

    Clips are drawn with replacement within each machine, section, domain and label, seeds too where
    there are several.
    """
    rng = _generator(seed, replicates)
    scores = np.atleast_2d(np.asarray(scores, np.float64))
    value, drawn = _resampled(list(clips), scores, year, replicates, rng)
    low, high = np.quantile(_over_seeds(drawn, _drawn_seeds(drawn, rng)), (0.025, 0.975))
    return Interval(float(value.mean()), float(low), float(high))


def section_intervals(domain, label, score, year: int) -> dict[str, Interval]:
    """One section's clips "n" -> {column of the year's rule: 95 % interval}, drawing clips as
    `bootstrap` does.

    Columns without normals or without anomalies are left out.
    """
    weight = _drawn_counts(domain, label, 1000, np.random.default_rng(0))
    found = {}
    for column, (metric, mask) in section_columns(domain, label, year).items():
        if len(set(label[mask].tolist())) < 2:
            continue
        value, *drawn = metric(*tie_groups(label[mask], score[mask], weight[:, mask]))
        found[column] = Interval(
            float(value), *(float(q) for q in np.quantile(drawn, (0.025, 0.975)))
        )
    return found


def paired_bootstrap(
    clips: Iterable[tuple],
    scores_a,
    scores_b,
    year: int,
    *,
    same_seeds: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Is A better than B? Both systems' scores "n" or "seeds n" of the same clips -> difference of
    official scores.

    Each replicate scores both systems on the same drawn clips, and on seeds drawn for each system
    by itself; with same_seeds, seed i of A belongs to seed i of B (two ways to score one run) and
    both take the same ones.
    """
    rng = _generator(seed, replicates)
    a, b = (np.atleast_2d(np.asarray(scores, np.float64)) for scores in (scores_a, scores_b))
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"paired bootstrap: {a.shape[1]} clips of A but {b.shape[1]} of B; both must score "
            "the same"
        )
    value, drawn = _resampled(list(clips), np.concatenate([a, b]), year, replicates, rng)
    if same_seeds and len(a) != len(b):
        raise InputError(
            f"paired bootstrap: {len(a)} seeds of A but {len(b)} of B; the same seeds are needed"
        )
    drawn_a, drawn_b = drawn[: len(a)], drawn[len(a) :]
    seeds_a = _drawn_seeds(drawn_a, rng)
    seeds_b = seeds_a if same_seeds else _drawn_seeds(drawn_b, rng)
    difference = _over_seeds(drawn_a, seeds_a) - _over_seeds(drawn_b, seeds_b)
    low, high = np.quantile(difference, (0.025, 0.975))
    tail = min(np.sum(difference <= 0), np.sum(difference >= 0))
    return Comparison(
        difference=float(value[: len(a)].mean() - value[len(a) :].mean()),
        low=float(low),
        high=float(high),
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
    """Official scores "s" of the systems, and "s replicates" of the systems on clips drawn anew."""
    check_year(year)
    if not clips or len(clips) != scores.shape[1]:
        raise InputError(f"bootstrap: {len(clips)} clips but {scores.shape[1]} scores")
    machine, section, domain, label = (np.array(column) for column in zip(*clips, strict=True))
    _, place = np.unique(
        [f"{m}\n{s}" for m, s in zip(machine, section, strict=True)], return_inverse=True
    )
    values = []
    for one in range(place.max() + 1):
        here = np.flatnonzero(place == one)
        weight = _drawn_counts(domain[here], label[here], replicates, rng)
        for metric, mask in section_columns(domain[here], label[here], year).values():
            own = here[mask]
            values.append(
                [metric(*tie_groups(label[own], system[own], weight[:, mask])) for system in scores]
            )
    means = official_mean([np.array(values)], year)
    return means[:, 0], means[:, 1:]


def _drawn_counts(domain, label, replicates, rng):
    """How often each clip is drawn, "replicates + 1 n"; row 0 is every clip once."""
    counts = np.ones((replicates + 1, len(label)))
    for stratum in sorted({*zip(domain.tolist(), label.tolist(), strict=True)}):
        members = np.flatnonzero((domain == stratum[0]) & (label == stratum[1]))
        counts[1:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=replicates
        )
    return counts


def _drawn_seeds(drawn, rng):
    """Which seeds each replicate takes, "seeds replicates", with replacement."""
    return rng.integers(len(drawn), size=drawn.shape)


def _over_seeds(drawn, seeds):
    """Scores "seeds replicates" -> "replicates", the mean over the seeds drawn."""
    return drawn[seeds, np.arange(drawn.shape[1])].mean(0)
