"""Decision thresholds learned from the scores of normal clips alone."""

import numpy as np

from asd_jax.runtime.errors import InputError

DECISIONS = ("gamma", "quantile", "extreme_value")
_TAIL = 0.2  # share of the scores that the generalised Pareto distribution is fitted to
# of a gamma distribution: standard deviations below the lowest score
_STARTS = np.geomspace(0.01, 100, 41)
FEWEST = 3  # different scores that a two-parameter distribution can be fitted to


def threshold(normal_scores, *, decision: str = "gamma", quantile: float = 0.9) -> float:
    """Scores "n" of normal clips -> the score above which a clip is called anomalous.

    Args:
        normal_scores: self-scores (leave-one-out) or scores of held-out normal clips; NaN is left
            out.
        decision: "gamma", quantile of the gamma distribution likeliest for the scores (the DCASE
            baseline's rule, 0.9); "quantile", of the scores themselves; "extreme_value", of a
            generalised Pareto tail fitted to the highest fifth (Pickands 1975), for quantiles
            beyond what n scores can show, such as 0.999.
        quantile: between 0 and 1.

    Raises:
        InputError: unknown decision or quantile, fewer than 3 different scores to learn from.
    """
    scores = np.asarray(normal_scores, np.float64)
    scores = scores[~np.isnan(scores)]
    if decision not in DECISIONS:
        raise InputError(f"decision {decision!r}: must be one of {', '.join(DECISIONS)}")
    if not 0 < quantile < 1:
        raise InputError(f"decision quantile {quantile}: must lie between 0 and 1")
    if len(np.unique(scores)) < FEWEST:
        raise InputError(
            f"threshold: needs at least {FEWEST} different scores of normal clips, found "
            f"{len(np.unique(scores))}"
        )
    if decision == "quantile":
        return float(np.quantile(scores, quantile))
    return _gamma(scores, quantile) if decision == "gamma" else _extreme_value(scores, quantile)


def _gamma(scores, quantile):
    from scipy import stats

    # A search for shape, start and scale at once often stops far from the likeliest, or at a start
    # so close to the lowest score that the likelihood has no bound. For a given start the likeliest
    # shape and scale are unique.
    mean, std = scores.mean(), scores.std()
    scores = (scores - mean) / std
    fits = [stats.gamma.fit(scores, floc=scores.min() - below) for below in _STARTS]
    likeliest = min(fits, key=lambda fit: stats.gamma.nnlf(fit, scores))
    return float(mean + std * stats.gamma.ppf(quantile, *likeliest))


def _extreme_value(scores, quantile):
    from scipy import stats

    start = np.quantile(scores, 1 - _TAIL)
    excess = scores[scores > start] - start
    # inside the body, or no tail to speak of
    if quantile <= 1 - _TAIL or len(np.unique(excess)) < FEWEST:
        return float(np.quantile(scores, quantile))
    shape, _, scale = stats.genpareto.fit(excess, floc=0)
    return float(
        start
        + stats.genpareto.ppf(1 - (1 - quantile) / (len(excess) / len(scores)), shape, 0, scale)
    )
