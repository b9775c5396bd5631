"""Learns decision thresholds from the scores of normal clips alone."""

import numpy as np

from asd_jax.runtime.errors import InputError

DECISIONS = ("gamma", "quantile", "extreme_value")
_TAIL = 0.2  # share of the scores to which the generalised Pareto distribution is fitted
# Candidate starts of the gamma distribution, in standard deviations below the lowest score.
_STARTS = np.geomspace(0.01, 100, 41)
FEWEST = 3  # distinct scores needed to fit a distribution with two parameters


def threshold(normal_scores, *, decision: str = "gamma", quantile: float = 0.9) -> float:
    """Returns the score above which a clip is called anomalous, from normal scores "n".

        cut = threshold(self_scores, decision="quantile", quantile=0.9)

    Args:
        normal_scores: self-scores (leave-one-out) or scores of held-out normal clips, "n"; NaN is
            ignored.
        decision: "gamma" takes the quantile of the maximum-likelihood gamma distribution (the rule
            of the DCASE baseline, with quantile 0.9); "quantile" takes that of the scores
            themselves; "extreme_value" takes that of a generalised Pareto tail fitted to the
            highest fifth of the scores (Pickands 1975), for quantiles that n scores cannot resolve,
            such as 0.999.
        quantile: between 0 and 1.

    Raises:
        InputError: the decision or the quantile is invalid, or there are fewer than 3 distinct
            scores.
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
    # scipy.stats takes half a second to import, and scoring a file learns no threshold.
    from scipy import stats

    if decision == "gamma":
        return _gamma(stats.gamma, scores, quantile)
    return _extreme_value(stats.genpareto, scores, quantile)


def _gamma(gamma, scores, quantile):
    # A joint search over shape, start and scale often stops far from the maximum of the likelihood,
    # or at a start so close to the lowest score that the likelihood is unbounded. For a fixed start
    # the maximum over shape and scale is unique.
    mean = scores.mean()
    # Standardised, so that the candidate starts fit scores of any unit.
    std = scores.std()
    scores = (scores - mean) / std
    fits = [gamma.fit(scores, floc=scores.min() - below) for below in _STARTS]
    likeliest = min(fits, key=lambda fit: gamma.nnlf(fit, scores))
    return float(mean + std * gamma.ppf(quantile, *likeliest))


def _extreme_value(genpareto, scores, quantile):
    start = np.quantile(scores, 1 - _TAIL)
    excess = scores[scores > start] - start
    # The quantile lies inside the body of the scores, or the tail is too small to fit.
    if quantile <= 1 - _TAIL or len(np.unique(excess)) < FEWEST:
        return float(np.quantile(scores, quantile))
    # Excesses over the start begin at 0 by definition.
    shape, _, scale = genpareto.fit(excess, floc=0)
    # The same quantile among the excesses alone, which are a share of all scores.
    inside = 1 - (1 - quantile) / (len(excess) / len(scores))
    return float(start + genpareto.ppf(inside, shape, 0, scale))
