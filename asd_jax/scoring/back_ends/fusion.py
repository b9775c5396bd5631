"""Fuses several back ends, or one back end on several parts of the vectors, into one."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, Scores
from asd_jax.scoring.domain_normalization import domain_statistics

FUSIONS = ("z_min", "mean", "rank", "raw_mean")
Fit = Callable[[Bank], Fitted]
# Exponent of the power mean. Values from 2 to infinity rank the recordings of four machines alike.
POWER = 3


def fuse(
    bank: Bank, fits: Sequence[Fit], *, fusion: str = "z_min", groups: Bank | None = None
) -> Fitted:
    """Returns one back end that combines the scores of several back ends fitted to the same bank.

    Args:
        bank: {domain: "r e"}.
        fits: functions from the bank to `Fitted`.
        fusion: "z_min": z-normalise each back end by the self-scores of its bank and take the
            minimum (arXiv 2606.19269); "mean": the mean of these z-scores; "rank": the mean rank
            among the clips scored together, in (0, 1] (transductive: the score of a clip depends on
            the others); "raw_mean": the mean of the raw scores, for back ends with the same scale.
        groups: {domain: "r"}, clips with the same number are left out together for the self-scores
            that the z-scores are based on.

    Raises:
        InputError: the fusion is unknown, or there is no back end.
    """
    if fusion not in FUSIONS:
        raise InputError(f"fusion {fusion!r}: must be one of {', '.join(FUSIONS)}")
    if not fits:
        raise InputError("fusion: no back ends to fuse")
    fitted = [fit(bank) for fit in fits]
    # Self-scores are expensive: they are computed once, and only if the fusion needs them.
    known: list = []

    def all_self_scores():
        if not known:
            known.extend(one.self_scores(groups) for one in fitted)
        return known

    def combine(scores: Sequence[Scores]) -> Scores:
        if fusion in ("z_min", "mean"):
            scores = [_z(one, own) for one, own in zip(scores, all_self_scores(), strict=True)]
        elif fusion == "rank":
            scores = [{name: _rank(values) for name, values in one.items()} for one in scores]
        reduce = np.min if fusion == "z_min" else np.mean
        return {name: reduce([one[name] for one in scores], axis=0) for name in scores[0]}

    def self_scores(asked=groups):
        # The self-scores for `groups` are cached; other groups need new ones.
        every = all_self_scores() if asked is groups else [one.self_scores(asked) for one in fitted]
        return {domain: combine([own[domain] for own in every]) for domain in bank}

    return Fitted(lambda test: combine([one.score(test) for one in fitted]), self_scores)


def fused(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the power mean "n" of the positive parts of {name: standardised scores "n"}.

    If no score is positive, returns the highest. The power mean lies between the mean and the
    maximum: one back end alone can call a sound anomalous, and several that agree do so sooner.
    """
    of = np.stack(list(scores.values()))
    # A sound that one back end finds very ordinary may still be odd to another.
    above = np.power(np.power(np.maximum(of, 0), POWER).mean(0), 1 / POWER)
    return np.where(above > 0, above, of.max(0))


def on_columns(fit: Fit, columns: slice) -> Fit:
    """Returns `fit` restricted to some columns of the vectors, e.g. those of one band or layer."""

    def fit_columns(bank):
        fitted = fit({domain: vectors[:, columns] for domain, vectors in bank.items()})
        return Fitted(lambda test: fitted.score(test[:, columns]), fitted.self_scores)

    return fit_columns


def _z(scores: Scores, own: dict[str, Scores]) -> Scores:
    statistics, _ = domain_statistics({}, {name: own[name][name] for name in scores}, "train")
    return {
        name: (values - statistics[name][0]) / statistics[name][1]
        for name, values in scores.items()
    }


def _rank(values: np.ndarray) -> np.ndarray:
    """Returns the ranks in (0, 1]; ties get their mean rank, NaN stays NaN."""
    # scipy.stats takes half a second to import, and few runs fuse by ranks.
    from scipy.stats import rankdata

    return rankdata(values, nan_policy="omit") / max(1, np.sum(~np.isnan(values)))
