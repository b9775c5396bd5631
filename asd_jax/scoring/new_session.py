"""What the scores of known sessions say of a clip of a new one: robust statistics, quantiles,
thresholds.
"""

import numpy as np
from jaxtyping import Float, Int

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.conformal import fewest, percent
from asd_jax.scoring.threshold import FEWEST

_NORMAL_MAD = 1.4826  # standard deviations of a normal distribution in a median deviation
_LEAST_SPREAD = 0.05  # of the usual score: no view knows a machine better
_AT = 0.95  # the quantile at which the spread of few scores is made wide enough


def usual_and_spread(scores: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Scores -> (median, robust standard deviation by the median deviation), which a half of odd
    scores cannot move.
    """
    usual = float(np.median(scores))
    spread = _NORMAL_MAD * float(np.median(np.abs(scores - usual)))
    return usual, max(spread, _LEAST_SPREAD * abs(usual), float(np.finfo(np.float32).tiny))


def spread_of_few(n: int) -> float:
    """By how much the spread of n scores is widened for one more, by Student's t."""
    from scipy import stats

    widened = stats.t.ppf(_AT, max(n - 1, 1)) * np.sqrt(1 + 1 / max(n, 1))
    return float(widened / stats.norm.ppf(_AT))


def limit_of_few(scores: Float[np.ndarray, "n"], rate: float) -> float:
    """Scores too few for a quantile of their own -> Student's t quantile for one more; of more
    scores nothing is said: minus infinity.
    """
    from scipy import stats

    n = len(scores)
    if not 2 <= n < fewest(rate):
        return -np.inf
    widened = stats.t.ppf(1 - rate, n - 1) * np.sqrt(1 + 1 / n)
    return float(scores.mean() + widened * scores.std(ddof=1))


def weighted_quantile(
    scores: Float[np.ndarray, "n"], session: Int[np.ndarray, "n"], rate: float
) -> float:
    """Scores and their sessions, which count alike -> the score that a further exchangeable one
    lies above with a probability of at most `rate`; the highest score where n are too few for
    that.

    Of one score a session it is the split-conformal order statistic (Vovk et al. 2005).
    """
    number, counts = np.unique(session, return_inverse=True, return_counts=True)[1:]
    order, n = np.argsort(scores, kind="stable"), len(scores)
    weight = np.cumsum(1 / counts[number][order]) / len(counts) * n / (n + 1)
    enough = np.searchsorted(np.round(weight, 9), round(1 - rate, 9))
    return float(scores[order][min(enough, n - 1)])


def new_session_threshold(
    scores: Float[np.ndarray, "n"],
    session: Int[np.ndarray, "n"],
    rate: float,
    *,
    random_effects: bool = False,
) -> tuple[float, str]:
    """Scores of normal sounds as of new sessions -> (threshold, why it is weak or "").

    The scores' own quantile. With `random_effects`, sessions are a sample of all that there will
    be: where they are too few for a quantile of their own, Student's t quantile for a clip of one
    more of them counts if it is larger (spread between sessions and within).

    Raises:
        InputError: a rate outside (0, 1), fewer than 3 different scores.
    """
    from scipy import stats

    if not 0 < rate < 1:
        raise InputError(f"false-alarm rate {rate}: must lie between 0 and 1")
    if len(np.unique(scores)) < FEWEST and len(scores) < fewest(rate):
        raise InputError(
            f"threshold: {len(scores)} normal scores, fewer than {FEWEST} of them different; more "
            "sounds are needed"
        )
    threshold, weak = weighted_quantile(scores, session, rate), ""
    if len(scores) < fewest(rate):
        weak = (
            f"{len(scores)} normal sounds cannot support a false-alarm rate of {percent(rate)}: "
            f"{percent(1 / (len(scores) + 1))} is the least they can show, with their highest "
            f"score as the threshold. Record at least {fewest(rate)} normal sounds, or raise the "
            "rate"
        )
    number, counts = np.unique(session, return_inverse=True, return_counts=True)[1:]
    sessions = len(counts)
    if not random_effects or not FEWEST <= sessions < min(fewest(rate), len(scores)):
        return threshold, weak
    mean = np.bincount(number, scores) / counts
    within = np.square(scores - mean[number]).sum() / max(len(scores) - sessions, 1)
    between = max(mean.var(ddof=1) - (within / counts).mean(), 0)
    spread = np.sqrt(mean.var(ddof=1) / sessions + between + within)
    # A session left out is compared with one session fewer than a new one will be, and seems
    # odder: t with its own sessions - 1 degrees of freedom would make up for few ones twice.
    widened = stats.t.ppf(1 - rate, 2 * (sessions - 1))
    return max(threshold, float(mean.mean() + widened * spread)), weak
