"""A back end that is a function of the user's own."""

from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import named_function
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, fit_by_folds


def own_back_end(bank: Bank, name: str) -> Fitted:
    """Returns the back end that a function of the user fits to a bank.

    The function takes the bank {domain: "r e"} in float64 and returns {domain: scorer}, where a
    scorer is a function from vectors "n e" to anomaly scores "n", higher for more anomalous
    ones. It is also called without each fold of a domain's clips, of which one may be left: that
    gives the self-scores.

    Args:
        bank: {domain: "r e"}.
        name: package.module:function.

    Raises:
        InputError: there is no such function, or it returns something else.
    """
    function = named_function(name, "scoring.back_end")
    what = f"scoring.back_end={name}"

    def fit(bank):
        scorers = function(bank)
        if not isinstance(scorers, Mapping) or set(scorers) != set(bank):
            raise InputError(
                f"{what}: returned {type(scorers).__name__}; expected a dictionary with a scorer "
                f"for each of {', '.join(bank)}"
            )
        return {domain: _checked(scorers[domain], what) for domain in bank}

    # A function of unknown cost is refitted per fold, not per clip.
    return fit_by_folds(fit, bank)


def _checked(scorer, what: str):
    """Returns the scorer, which raises InputError if its scores are not one finite number each."""

    def score(vectors):
        scores = np.asarray(scorer(vectors))
        # Kinds of NumPy's dtypes: floats, integers and unsigned integers.
        if scores.shape != (len(vectors),) or scores.dtype.kind not in "fiu":
            raise InputError(
                f"{what}: {scores.dtype} {scores.shape} for {len(vectors)} vectors; expected a "
                "score for each"
            )
        if not np.isfinite(scores).all():
            raise InputError(f"{what}: NaN or infinity among the scores")
        return scores.astype(np.float64)

    return score
