"""Thresholds and p-values that promise no more than the normal scores can show (split-conformal
prediction).
"""

import math

import numpy as np
from jaxtyping import Float

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.threshold import FEWEST

RAREST = (
    1e-9  # false-alarm rate, and least share of sounds that are no alarm; ranks are exact to it
)


def conformal_threshold(
    normal: Float[np.ndarray, "n"], false_alarm_rate: float
) -> tuple[float, str]:
    """Scores of normal sounds, none of which saw itself -> (threshold, why it is weak or "").

    The ceil((n + 1) (1 - rate))-th smallest score: a further exchangeable normal sound lies above
    it with a probability of at most `rate`, whatever the distribution (Vovk et al. 2005). Where n
    is too small for that, it is the highest score, with a probability of 1 / (n + 1), and the note
    says so: the tail of a distribution fitted to ten scores is a guess, and hides faults.

    Raises:
        InputError: a rate outside 1e-9 .. 1 - 1e-9, fewer than 3 different scores.
    """
    if not RAREST <= false_alarm_rate <= 1 - RAREST:
        raise InputError(
            f"false-alarm rate {false_alarm_rate}: must lie between 0 and 1, no nearer to either "
            f"than {RAREST:g}"
        )
    n = len(normal)
    k = math.ceil(round((n + 1) * (1 - false_alarm_rate), 9))
    if k <= n:
        return float(np.sort(normal)[k - 1]), ""
    if len(np.unique(normal)) < FEWEST:
        raise InputError(
            f"threshold: {n} normal scores, fewer than {FEWEST} of them different; more sounds "
            "are needed"
        )
    return float(normal.max()), (
        f"{n} normal sounds cannot support a false-alarm rate of {percent(false_alarm_rate)}: "
        f"{percent(1 / (n + 1))} is the least they can show, with their highest score as the "
        f"threshold. Record at least {fewest(false_alarm_rate)} normal sounds, or raise the rate"
    )


def fewest(false_alarm_rate: float) -> int:
    """How many normal sounds support a false-alarm rate."""
    return math.ceil(round(1 / false_alarm_rate, 9)) - 1


def p_values(
    scores: Float[np.ndarray, "n"], normal: Float[np.ndarray, "r"]
) -> Float[np.ndarray, "n"]:
    """Scores -> how likely a normal sound scores at least as high: (1 + normals at or above) / (r +
    1).
    """
    above = len(normal) - np.searchsorted(np.sort(normal), scores, side="left")
    return (1 + above) / (len(normal) + 1)


def percent(rate: float) -> str:
    """0.05 -> "5 %"."""
    return f"{100 * rate:.3g} %"
