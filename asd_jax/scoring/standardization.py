"""Puts the scores of several scorers and domains on one scale, by statistics of normal scores."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.new_session import (
    limit_of_few,
    median_and_deviation,
    weighted_quantile,
    widening_for_few,
)
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores

# Factor on a threshold that is based on simulated sessions, because how much they differ is a
# guess.
SIMULATION_MARGIN = 1.25
_BORROWED = 5  # weight, in recordings, of the deviation of both domains beside that of one domain
_REFERENCE = 0.05  # false-alarm rate at which the scales of the two domains are made equal


@dataclasses.dataclass(frozen=True)
class Standardization:
    """Statistics of normal scores that turn scores into standard deviations of normal sounds.

    Attributes:
        domains: names of the banks, in the order of the columns of scores.
        statistics: {scorer: {bank: (usual score, deviation) of normal sounds of its own domain}}.
        scale: {bank: divisor of its standardised scores}, so that one threshold fits all banks.
    """

    domains: list[str]
    statistics: Mapping[str, Mapping[str, tuple[float, float]]]
    scale: Mapping[str, float]

    def __call__(self, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {scorer: standardised scores "n"} of {scorer: scores against each bank "n d"}.

        Each sound is scored against the bank in which it is least anomalous.
        """
        banks = []
        for n, domain in enumerate(self.domains):
            of_each = {name: self.one(name, domain, of[:, n]) for name, of in scores.items()}
            banks.append({name: of / self.scale[domain] for name, of in of_each.items()})
        # All scorers of a sound must use the same bank, so the bank is chosen by the fused score.
        least = np.argmin([fused(of) for of in banks], axis=0)
        rows = np.arange(len(least))
        return {name: np.stack([of[name] for of in banks])[least, rows] for name in scores}

    def one(self, scorer: str, domain: str, scores: np.ndarray) -> np.ndarray:
        """Returns scores against one bank, standardised but not divided by the bank's scale."""
        usual, deviation = self.statistics[scorer][domain]
        return (scores - usual) / deviation


def statistics_of(
    scorer: str, windows: NormalWindows, scores: Mapping[str, SelfScores]
) -> dict[str, tuple[float, float]]:
    """Returns {bank: (usual score, deviation)} of the scores that a scorer gives normal windows.

    Args:
        scorer: the scorer.
        windows: the normal windows.
        scores: {bank: scores of the windows}; banks with the same scores lend each other theirs.
    """
    found = {}
    counts = {}
    for n, name in enumerate(windows.domains):
        of = scores[name].of
        own = windows.domain[of] == name
        found[name] = median_and_deviation(scores[name].values[scorer][own, n])
        # Windows of one recording are alike, so recordings are counted.
        counts[name] = len(np.unique(windows.group[of][own]))
    statistics = {}
    for name, (usual, _) in found.items():
        alike = [one for one in found if scores[one] is scores[name]]
        deviation = _shrunk(name, {one: found[one] for one in alike}, counts)
        statistics[name] = usual, deviation * widening_for_few(counts[name])
    return statistics


def _shrunk(name: str, found: Mapping[str, tuple[float, float]], counts) -> float:
    """Returns the deviation of a domain's scores, shrunk towards that of both domains.

    The deviations are taken relative to the usual score of each domain. The fewer recordings a
    domain has, the more its deviation is shrunk.
    """
    usual, deviation = found[name]
    # A usual score of 0 has no relative deviation.
    if len(found) == 1 or not all(of[0] for of in found.values()):
        return deviation
    square = {one: (deviation / usual) ** 2 for one, (usual, deviation) in found.items()}
    both = sum(counts[one] * square[one] for one in found) / sum(counts[one] for one in found)
    relative = (counts[name] * square[name] + _BORROWED * both) / (counts[name] + _BORROWED)
    return float(np.sqrt(relative)) * usual


def scale_of(
    windows: NormalWindows, standardized: Mapping[str, np.ndarray], by_sessions: Mapping[str, bool]
) -> dict[str, float]:
    """Returns the scale of each bank (see `Standardization`).

    Args:
        windows: the normal windows that have scores as sounds of a new session.
        standardized: {bank: fused scores of its own windows}.
        by_sessions: {bank: whether its sessions can be compared}.
    """
    # Simulated sessions differ by as much in both domains, so the scales are equal.
    if len(standardized) == 1 or not any(by_sessions.values()):
        return dict.fromkeys(standardized, 1.0)
    limits = {}
    for name, scores in standardized.items():
        session = (windows.session if by_sessions[name] else windows.group)[windows.domain == name]
        limit = weighted_quantile(scores, session, _REFERENCE)
        if by_sessions[name]:
            limit = max(limit, limit_of_few(scores, _REFERENCE))
        else:
            limit *= SIMULATION_MARGIN
        # Standardised scores may lie near 0 or below, where a ratio of limits means nothing.
        limits[name] = max(limit, 1.0)
    return {name: limit / min(limits.values()) for name, limit in limits.items()}
