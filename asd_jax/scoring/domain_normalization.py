"""Domain normalisation: puts the scores against the source and the target bank on one scale.

The result is one score per clip, by default the minimum over the banks.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from asd_jax.runtime.errors import InputError

MODES = ("train", "test", "held_out", "none")
DOMAINS = ("min", "source", "target", "pooled")
# Scores whose standard deviation is smaller than either limit (absolute, or relative to the largest
# score) differ only by rounding. Dividing by it would inflate that rounding to values of 1e8.
_LEAST_STD = 1e-12
_LEAST_SHARE = 1e-9


def domain_normalize(
    test_source: ArrayLike | None,
    test_target: ArrayLike | None,
    *,
    train_source: ArrayLike | None = None,
    train_target: ArrayLike | None = None,
    mode: str = "train",
) -> np.ndarray:
    """Returns one anomaly score per test clip "n": the minimum over domains of (s - mean) / std.

    A domain without a bank is left out. A domain with a single training score, or whose scores are
    all equal, uses the statistics of the other domain. (The two clips of a bank of two always have
    equal scores, because each is the other's nearest neighbour.) If neither domain has a usable
    standard deviation, 1 is used. Each of these cases emits a warning.

    Args:
        test_source: scores "n" of the test clips against the source bank; None or empty if there is
            no source bank.
        test_target: scores "n" of the test clips against the target bank; None or empty if there is
            no target bank.
        train_source: scores from which the statistics of the source bank are computed: self-scores
            of its clips (mode "train") or scores of held-out normal source clips (mode "held_out").
        train_target: the same for the target bank.
        mode: "train", "held_out" (statistics from the scores given), "test" (statistics of the test
            clips themselves: transductive, as in the public code of GenRep and RMIS) or "none"
            (plain minimum).

    Raises:
        InputError: the mode is unknown, there is no bank, the lengths differ, or the scores for the
            statistics are missing.
    """
    test = {
        name: np.asarray(scores, np.float64)
        for name, scores in (("source", test_source), ("target", test_target))
        if scores is not None and len(scores)
    }
    reference = {
        name: np.asarray([] if scores is None else scores, np.float64)
        for name, scores in (("source", train_source), ("target", train_target))
    }
    statistics, notes = domain_statistics(test, {name: reference[name] for name in test}, mode)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return normalized(test, statistics)


def domain_statistics(
    test: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], mode: str
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Returns {bank: (mean, std)} for normalisation by `mode`, and notes on unusual cases.

    The standard deviation is that of the population (ddof 0).

    Args:
        test: {bank: scores of the test clips against it}; used only in mode "test".
        reference: {bank: scores of normal clips of its own domain}; NaN (no neighbour) is ignored.
        mode: see `domain_normalize`.

    Raises:
        InputError: the mode is unknown, or no bank has enough scores.
    """
    if mode not in MODES:
        raise InputError(f"normalization {mode!r}: must be one of {', '.join(MODES)}")
    # Statistics that change nothing, so that every mode takes the same path.
    if mode == "none":
        return {name: (0.0, 1.0) for name in reference}, []
    values = {
        name: np.asarray(v, np.float64)
        for name, v in (test if mode == "test" else reference).items()
    }
    values = {name: v[~np.isnan(v)] for name, v in values.items()}
    # The score of a single normal clip has no deviation; a test clip may be alone.
    if not any(len(v) > (mode != "test") for v in values.values()):
        raise InputError(
            f"normalization {mode}: needs at least two "
            f"{'test' if mode == 'test' else 'normal training'} scores in a domain; use "
            "--config.scoring.normalization=none"
        )
    lacking = {name: _why_no_std(scores, mode) for name, scores in values.items()}
    able = [name for name, reason in lacking.items() if not reason]
    statistics = {}
    notes = []
    for name, reason in lacking.items():
        source = name
        # A bank without usable statistics takes those of the largest usable bank.
        if reason and (able or len(values[name]) < 2):
            source = max(able or values, key=lambda other: len(values[other]))
            notes.append(f"{name}: {reason}, statistics of {source} used")
        if not able:
            notes.append(f"{source}: all scores are equal: their standard deviation counts as 1")
        # The mean stays that of the same scores: a mean and a deviation of two banks would not fit.
        std = float(values[source].std()) if able else 1.0
        statistics[name] = (float(values[source].mean()), std)
    return statistics, notes


def _why_no_std(scores: np.ndarray, mode: str) -> str:
    """Returns why these scores give no standard deviation, or an empty string if they do."""
    if len(scores) < 2 and mode != "test":
        return "fewer than two normal scores to learn from"
    return "all its scores are equal" if all_equal(scores) else ""


def all_equal(scores: np.ndarray) -> bool:
    """Returns whether scores "n" differ by no more than rounding."""
    return bool(scores.std() < max(_LEAST_STD, _LEAST_SHARE * np.abs(scores).max()))


def normalized(
    scores: Mapping[str, np.ndarray],
    statistics: Mapping[str, tuple[float, float]],
    domains: str = "min",
) -> np.ndarray:
    """Returns one score per clip "n": (s - mean) / std of one bank, or the minimum over banks.

    Args:
        scores: {bank: scores "n"}.
        statistics: {bank: (mean, std)}, see `domain_statistics`.
        domains: "source" or "target" uses that bank alone; any other value uses all banks.

    Raises:
        InputError: `domains` is unknown, its bank is missing, or the banks score different numbers
            of clips.
    """
    if domains not in DOMAINS:
        raise InputError(f"domains {domains!r}: must be one of {', '.join(DOMAINS)}")
    wanted: Sequence[str] = [domains] if domains in ("source", "target") else list(scores)
    if missing := [name for name in wanted if name not in scores]:
        raise InputError(
            f"domains {domains}: no {missing[0]} bank here; found: {', '.join(scores) or 'none'}"
        )
    if not wanted or len({len(scores[name]) for name in wanted}) > 1:
        counts = ", ".join(f"{len(of)} clips ({name})" for name, of in scores.items()) or "no bank"
        raise InputError(f"scores of {counts}: every bank must score the same clips")
    # A test clip may be of either domain, so the bank in which it is least anomalous counts.
    return np.min(
        [(np.asarray(scores[name]) - statistics[name][0]) / statistics[name][1] for name in wanted],
        axis=0,
    )
