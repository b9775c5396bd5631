"""Statistics of a short series of daily values: shape, significance and slope of a change."""

import functools

import numpy as np

CONFIDENCE = 0.95  # of the interval of a slope
_FEWEST_OF_A_SEGMENT = 5  # days that give a slope of their own
_PERMUTATIONS = 10_000
_PRIOR_DAYS = 30  # weight, in days, of the assumption that successive days are independent


def shape_of(at: np.ndarray, values: np.ndarray) -> tuple[str, int, np.ndarray]:
    """Returns (shape, number of the first day of the change, residual) of the best explanation.

    The shapes are compared by the Bayesian information criterion, in which the date of a step or a
    bend counts as two parameters, because it is searched for (Zhang & Siegmund 2007).
    """
    values = values - values.mean()
    count = len(values)
    # Every shape and every date is fitted, and the best one is kept.
    explanations = []
    for (shape, first), column in zip(*_candidates(tuple(at)), strict=True):
        residual = values - column * (column @ values)
        # Values without noise would make the logarithm infinite.
        error = np.square(residual).mean() + 1e-12 * np.square(values).mean() + 1e-300
        parameters = 2 if shape == "line" else 4
        criterion = count * np.log(error) + parameters * np.log(count)
        explanations.append((criterion, shape, first, residual))
    return min(explanations, key=lambda explanation: explanation[0])[1:]


def significance(
    at: np.ndarray, values: np.ndarray, wider: float, limit: float
) -> tuple[float, int]:
    """Returns (two-sided p-value, direction of the change, or 0 if p is not below `limit`).

    The statistic is the largest rank correlation of the values with any of the shapes. Its
    distribution without a change is that of permuted values, so it assumes no distribution.

    Args:
        at: days.
        values: their values.
        wider: factor on deviations due to the correlation of successive days.
        limit: largest p-value that counts as a change.
    """
    # scipy.stats takes 0.3 s to import, and a watch looks at the trend once a day.
    from scipy.stats import rankdata

    if np.ptp(values) == 0:
        return 1.0, 0
    # By ranks, a single alarm counts no more than the next highest day.
    ranks = rankdata(values) - (len(values) + 1) / 2
    correlation = _candidates(tuple(at))[1] @ (ranks / np.linalg.norm(ranks))
    strongest = correlation[np.abs(correlation).argmax()]
    statistic = _fisher(np.abs(strongest)) / wider
    # The observed order is one of the permutations, so p is never 0.
    p_value = (1 + np.sum(_without_change(tuple(at)) >= statistic)) / (1 + _PERMUTATIONS)
    return float(p_value), int(np.sign(strongest)) if p_value <= limit else 0


def variance_inflation(residual: np.ndarray) -> float:
    """Returns the factor on variances that the correlation of successive days causes.

    It is (1 + r) / (1 - r) for an autoregressive process (Hamed & Rao 1998, for one lag), with r
    corrected for its bias in short series (Kendall 1954) and shrunk towards 0: of 30 days, r has a
    standard error of 0.2, and taken as it is, chance would hide every other slow fault.
    """
    power = np.square(residual).sum()
    if power <= 0:
        return 1.0
    r = float((residual[1:] * residual[:-1]).sum() / power)
    count = len(residual)
    r = (count * r + 1) / (count - 4) * count / (count + _PRIOR_DAYS)
    # A correlation near 1 would make every trend insignificant.
    r = min(max(r, 0.0), 0.9)
    return (1 + r) / (1 - r)


def slope_of(at: np.ndarray, values: np.ndarray, wider: float) -> tuple[float, tuple[float, float]]:
    """Returns (Theil-Sen slope, its interval)."""
    # Imported here for the same reason as in `significance`.
    from scipy.stats import theilslopes

    slope, _, low, high = map(float, theilslopes(values, at, CONFIDENCE))
    return slope, (float(slope - wider * (slope - low)), float(slope + wider * (high - slope)))


@functools.lru_cache(maxsize=32)  # of 7 to 30 days
def _candidates(at: tuple[float, ...]) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Returns ((shape, first day of the change) of each explanation, its unit vector "k n")."""
    days = np.array(at)
    count = len(at)
    names = [("line", 0)]
    columns = [days]
    # A step needs two days before it and three from it on; a bend is a line and needs more.
    for first in range(2, count - 2):
        names.append(("step", first))
        columns.append((np.arange(count) >= first).astype(float))
        if count - first >= _FEWEST_OF_A_SEGMENT:
            names.append(("bend", first))
            columns.append(np.maximum(days - days[first - 1], 0))
    centred = np.stack([column - column.mean() for column in columns])
    return names, centred / np.linalg.norm(centred, axis=1, keepdims=True)


@functools.lru_cache(maxsize=32)  # of 7 to 30 days
def _without_change(at: tuple[float, ...]) -> np.ndarray:
    """Returns the statistic of `significance` for permuted values."""
    ranks = np.arange(len(at)) - (len(at) - 1) / 2
    # The same days always give the same p-value.
    order = np.random.default_rng(0).permuted(np.tile(ranks, (_PERMUTATIONS, 1)), axis=1)
    shapes = _candidates(at)[1] / np.linalg.norm(ranks)
    return _fisher(np.abs(order @ shapes.T).max(1))


def _fisher(correlation):
    """Returns Fisher's transform, whose deviation hardly depends on the correlation."""
    return np.arctanh(np.minimum(correlation, 1 - 1e-9))
