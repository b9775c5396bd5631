"""Predicts how a clip of a new session scores: robust statistics, quantiles and thresholds.

The predictions come from the scores of known sessions.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

from asd_jax.scoring.conformal import min_normal_sounds, too_few_for
from asd_jax.scoring.threshold import FEWEST

_NORMAL_MAD = 1.4826  # ratio of standard to median absolute deviation of a normal distribution
_LEAST_DEVIATION = 0.05  # smallest deviation relative to the median score; no view is more precise
_AT = 0.95  # quantile at which the deviation of few scores is widened to match Student's t


def median_and_deviation(scores: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Returns (median, robust standard deviation) of scores "n".

    The deviation is based on the median absolute deviation, so outliers have little effect on
    either value as long as they are less than half of the scores.
    """
    median = float(np.median(scores))
    deviation = _NORMAL_MAD * float(np.median(np.abs(scores - median)))
    # Tiny instead of 0, because scores are divided by the deviation.
    least = max(_LEAST_DEVIATION * abs(median), float(np.finfo(np.float32).tiny))
    return median, max(deviation, least)


def widening_for_few(n: int) -> float:
    """Returns the factor that widens the deviation of n scores to predict one more.

    The factor follows Student's t distribution.
    """
    widened = stdtrit(max(n - 1, 1), _AT) * np.sqrt(1 + 1 / max(n, 1))
    return float(widened / ndtri(_AT))


def limit_of_few(scores: Float[np.ndarray, "n"], rate: float) -> float:
    """Returns the Student's t quantile for one more score, or minus infinity.

    Minus infinity stands for no limit: there are fewer than two scores, or enough for a quantile of
    their own.
    """
    n = len(scores)
    if not 2 <= n < min_normal_sounds(rate):
        return -np.inf
    widened = stdtrit(n - 1, 1 - rate) * np.sqrt(1 + 1 / n)
    return float(scores.mean() + widened * scores.std(ddof=1))


def weighted_quantile(
    scores: Float[np.ndarray, "n"], session: Int[np.ndarray, "n"], rate: float
) -> float:
    """Returns the score that one more exchangeable score exceeds with probability at most `rate`.

    If n scores are too few for that, returns the highest. With one score per session this is the
    split-conformal order statistic (Vovk et al. 2005).

    Args:
        scores: scores "n".
        session: session of each score, "n"; all sessions have the same total weight.
        rate: the probability.
    """
    number, counts = np.unique(session, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(scores, kind="stable")
    n = len(scores)
    # The new score is one of n + 1, so the known ones have n / (n + 1) of the weight.
    weight = np.cumsum(1 / counts[number][order]) / len(counts) * n / (n + 1)
    # Rounded, because a sum that misses 1 - rate by its last bit would cost a rank.
    enough = np.searchsorted(np.round(weight, 9), round(1 - rate, 9))
    return float(scores[order][min(enough, n - 1)])


def new_session_threshold(
    scores: Float[np.ndarray, "n"],
    session: Int[np.ndarray, "n"],
    rate: float,
    *,
    random_effects: bool = False,
) -> tuple[float, str]:
    """Returns (threshold, reason why it is unreliable, or "") for sounds of a new session.

    The threshold is the quantile of the scores. With `random_effects`, the sessions are treated as
    a random sample of all sessions: if they are too few for a quantile of their own, the threshold
    is at least the quantile for a clip of one more session, by the variance between and within
    sessions, if scores have an exponential tail.

    Args:
        scores: scores "n" of normal sounds, each computed as if its session were new.
        session: session of each score, "n".
        rate: false-alarm rate.
        random_effects: see above.

    Raises:
        InputError: the rate is outside 1e-9 .. 1 - 1e-9, or there are fewer than 3 distinct scores.
    """
    weak = too_few_for(scores, rate)
    threshold = weighted_quantile(scores, session, rate)
    number, counts = np.unique(session, return_inverse=True, return_counts=True)[1:]
    sessions = len(counts)
    if not random_effects or not FEWEST <= sessions < min(min_normal_sounds(rate), len(scores)):
        return threshold, weak
    # Variances between and within sessions by the method of moments.
    mean = np.bincount(number, scores) / counts
    within = np.square(scores - mean[number]).sum() / (len(scores) - sessions)
    # The means also vary by chance within sessions; the rest may come out below 0.
    between = max(mean.var(ddof=1) - (within / counts).mean(), 0)
    # Of a clip of one more session about the mean of the known ones.
    deviation = np.sqrt(mean.var(ddof=1) / sessions + between + within)
    # A session that is left out is compared with one session fewer than a new one will be, and
    # therefore scores higher. Student's t would correct for the small number of sessions twice.
    # Distances are skewed to the right. On synthetic machines, an exponential tail gives about the
    # 1 and 5 % of false alarms that are asked for (benchmarks/false_alarms.py).
    # An exponential variable of deviation 1 has mean 1 and exceeds -log(rate) at that rate.
    quantile = -np.log(rate) - 1
    return max(threshold, float(mean.mean() + quantile * deviation)), weak
