"""Domain normalisation: scores against the source and the target bank on one scale, then one score
per clip.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError

MODES = ("train", "test", "held_out", "none")
DOMAINS = ("min", "source", "target", "pooled")
# Scores that differ by less, absolutely or as a share of the highest, are equal but for rounding:
# dividing by their deviation would make numbers of 1e8 out of nothing.
_LEAST_STD, _LEAST_SHARE = 1e-12, 1e-9


def domain_normalize(
    test_source, test_target, *, train_source=None, train_target=None, mode: str = "train"
) -> np.ndarray:
    """Scores "n" against the source bank and the target bank -> anomaly score "n", min over domains
    of (s - mean)/std.

    Args:
        test_source: test clips' scores against the source bank; None or empty where there is no
            source bank.
        test_target: the same for the target bank.
        train_source: scores the statistics come from: self-scores of the source bank's clips (modes
            train), or scores of held-out normal source clips (mode held_out).
        train_target: the same for the target bank.
        mode: "train", "held_out" (statistics as given), "test" (statistics of the test clips
            themselves: transductive, as public code of GenRep and RMIS does) or "none" (plain
            minimum).

    A domain without bank is left out; one with a single training score, or whose scores are all
    equal (as those of two clips are, each of which is the other's neighbour), uses the other
    domain's statistics; where neither has a deviation, it counts as 1. Each of these is said in a
    warning.

    Raises:
        InputError: unknown mode, no bank at all, lengths that differ, statistics missing.
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
    """{bank: (mean, std)} that `mode` normalises with (ddof 0), and notes on what was out of the
    ordinary.

    Args:
        test: {bank: scores of the test clips against it}; only looked at in mode "test".
        reference: {bank: scores of normal clips of its own domain}; NaN (no neighbour) is left out.
        mode: see `domain_normalize`.
    """
    if mode not in MODES:
        raise InputError(f"normalization {mode!r}: must be one of {', '.join(MODES)}")
    if mode == "none":
        return {name: (0.0, 1.0) for name in reference}, []
    values = {
        name: np.asarray(v, np.float64)
        for name, v in (test if mode == "test" else reference).items()
    }
    values = {name: v[~np.isnan(v)] for name, v in values.items()}
    if not any(len(v) > (mode != "test") for v in values.values()):
        raise InputError(
            f"normalization {mode}: needs at least two "
            f"{'test' if mode == 'test' else 'normal training'} scores in a domain; use "
            "--config.scoring.normalization=none"
        )
    lacking = {name: _lacking(scores, mode) for name, scores in values.items()}
    able = [name for name, reason in lacking.items() if not reason]
    statistics, notes = {}, []
    for name, reason in lacking.items():
        source = name
        if reason and (able or len(values[name]) < 2):
            source = max(able or values, key=lambda other: len(values[other]))
            notes.append(f"{name}: {reason}, statistics of {source} used")
        if not able:
            notes.append(f"{source}: all scores are equal: their standard deviation counts as 1")
        std = float(values[source].std()) if able else 1.0
        statistics[name] = (float(values[source].mean()), std)
    return statistics, notes


def _lacking(scores: np.ndarray, mode: str) -> str:
    """Why no standard deviation can be told from these scores, or ""."""
    if len(scores) < 2 and mode != "test":
        return "fewer than two normal scores to learn from"
    return "all its scores are equal" if all_equal(scores) else ""


def all_equal(scores: np.ndarray) -> bool:
    """Whether scores "n" differ by no more than rounding."""
    return bool(scores.std() < max(_LEAST_STD, _LEAST_SHARE * np.abs(scores).max()))


def normalized(
    scores: Mapping[str, np.ndarray],
    statistics: Mapping[str, tuple[float, float]],
    domains: str = "min",
) -> np.ndarray:
    """{bank: scores "n"} -> one score "n": (s - mean)/std of each bank, their minimum or one
    domain's alone.
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
    return np.min(
        [(np.asarray(scores[name]) - statistics[name][0]) / statistics[name][1] for name in wanted],
        axis=0,
    )
