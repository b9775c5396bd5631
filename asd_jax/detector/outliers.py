"""Finds normal recordings that are far from all others, and those that set the threshold alone."""

from collections.abc import Sequence

import numpy as np

from asd_jax.scoring.normal_bank import NormalBank

FEWEST_BESIDE = 8  # fewest recordings among which one can be recognised as an outlier
BESIDE = 6  # at most one in this many recordings is left out
FAR_OUT = 5.0  # self-score, in robust standard deviations, above which a recording is an outlier


def outlier_recordings(bank: NormalBank, first: int = 0) -> list[int]:
    """Returns the recordings that are clear outliers, at most one in six.

    An outlier is far out, and at least twice as far as every recording that is kept. Only
    recordings from number `first` on are returned.
    """
    recording = bank.windows.recording[bank.self_scores.of]
    numbers, position = np.unique(recording, return_inverse=True)
    if len(numbers) < FEWEST_BESIDE:
        return []
    # The mean over windows counts, so that one loud window makes no outlier of a recording.
    score = np.bincount(position, bank.deviations) / np.bincount(position)
    descending = np.argsort(-score, kind="stable")
    # Outliers of one kind are found together only: each alone is close to the others.
    for count in range(1, len(numbers) // BESIDE + 1):
        least = score[descending[count - 1]]
        outliers = numbers[descending[:count]]
        # Only a clear gap makes outliers; a long tail is how the machine varies.
        gap = least > 2 * score[descending[count]]
        if least > FAR_OUT and gap and outliers.min() >= first:
            return sorted(map(int, outliers))
    return []


def of_rare_domain(domains: Sequence[str], bank: NormalBank) -> set[int]:
    """Returns the recordings of the rarer domain, if it is too rare for its own bank.

    These recordings are expected to be far from the others, which is therefore no sign of a fault.
    """
    if len(set(domains)) < 2 or len(bank.domains) > 1:
        return set()
    rare = min(set(domains), key=list(domains).count)
    return {number for number, domain in enumerate(domains) if domain == rare}


def most_anomalous(bank: NormalBank) -> tuple[int, np.ndarray] | None:
    """Returns (the recording with the highest normal score, mask of the scores of all others).

    Returns None if there are too few recordings to tell.
    """
    recording = bank.windows.recording[bank.new_session_scores.of]
    # Among so few, one always sets the threshold.
    if len(np.unique(recording)) <= FEWEST_BESIDE // 2:
        return None
    highest = int(recording[bank.normal.argmax()])
    return highest, recording != highest
