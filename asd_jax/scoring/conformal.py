"""P-values that are valid for a finite number of normal scores, and what so few can support.

They are those of split-conformal prediction (Vovk et al. 2005).
"""

import math

import numpy as np
from jaxtyping import Float

# Smallest false-alarm rate, and smallest share of sounds without an alarm. Ranks are computed
# exactly down to this rate.
RAREST = 1e-9


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
