"""Thresholds and p-values that are valid for a finite number of normal scores.

They are those of split-conformal prediction (Vovk et al. 2005).
"""

import math

import numpy as np
from jaxtyping import Float

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.threshold import FEWEST

# Smallest false-alarm rate, and smallest share of sounds without an alarm. Ranks are computed
# exactly down to this rate.
RAREST = 1e-9


def conformal_threshold(
    normal: Float[np.ndarray, "n"], false_alarm_rate: float
) -> tuple[float, str]:
    """Returns (threshold, reason why it is unreliable, or "") for scores "n" of normal sounds.

    The score of each sound must come from a fit that did not use the sound. The threshold is the
    ceil((n + 1) (1 - rate))-th smallest score: one more exchangeable normal sound exceeds it with a
    probability of at most `rate`, whatever the distribution (Vovk et al. 2005). If n is too small
    for that, the threshold is the highest score, which is exceeded with a probability of 1 / (n +
    1), and the reason says so. The tail of a distribution fitted to ten scores would be a guess,
    and would hide faults.

        threshold, weak = conformal_threshold(np.arange(19.0), 0.05)  # 18.0, ""

    Raises:
        InputError: the rate is outside 1e-9 .. 1 - 1e-9, or there are fewer than 3 distinct scores.
    """
    weak = too_few_for(normal, false_alarm_rate)
    # Without rounding, a floating-point error could raise the rank by one.
    k = math.ceil(round((len(normal) + 1) * (1 - false_alarm_rate), 9))
    return float(np.sort(normal)[min(k, len(normal)) - 1]), weak


def too_few_for(normal: Float[np.ndarray, "n"], false_alarm_rate: float) -> str:
    """Returns why scores "n" of normal sounds cannot support a false-alarm rate, "" if they can.

    Raises:
        InputError: as for `conformal_threshold`.
    """
    if not RAREST <= false_alarm_rate <= 1 - RAREST:
        raise InputError(
            f"false-alarm rate {false_alarm_rate}: must lie between 0 and 1, no nearer to either "
            f"than {RAREST:g}"
        )
    n = len(normal)
    enough = min_normal_sounds(false_alarm_rate)
    if n >= enough:
        return ""
    if len(np.unique(normal)) < FEWEST:
        raise InputError(
            f"threshold: {n} normal scores, fewer than {FEWEST} of them different; more sounds "
            "are needed"
        )
    return (
        f"{n} normal sounds cannot support a false-alarm rate of {percent_text(false_alarm_rate)}: "
        f"{percent_text(1 / (n + 1))} is the least they can show, with their highest score as the "
        f"threshold. Record at least {enough} normal sounds, or raise the rate"
    )


def min_normal_sounds(false_alarm_rate: float) -> int:
    """Returns the smallest number of normal sounds that can support a false-alarm rate."""
    # The least p-value of r scores is 1 / (r + 1). Rounded, because a quotient that misses a whole
    # number by its last bit would ask for one sound more.
    return math.ceil(round(1 / false_alarm_rate, 9)) - 1


def p_values(
    scores: Float[np.ndarray, "n"], normal: Float[np.ndarray, "r"]
) -> Float[np.ndarray, "n"]:
    """Returns the p-value of each score "n": (1 + normal scores at or above it) / (r + 1).

    This is the probability that a normal sound scores at least as high.
    """
    # side="left" counts equal scores as at or above, which errs towards fewer alarms.
    above = len(normal) - np.searchsorted(np.sort(normal), scores, side="left")
    return (1 + above) / (len(normal) + 1)


def percent_text(rate: float) -> str:
    """Returns a rate as text in percent: 0.05 becomes "5 %"."""
    return f"{100 * rate:.3g} %"
