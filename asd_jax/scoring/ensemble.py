"""Combines the scores that several runs give the same clips."""

from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import MachineScores


def mean_scores(runs: Sequence[Mapping[str, MachineScores]]) -> dict[str, MachineScores]:
    """Returns {machine: scores}: each clip's mean score over the runs, against the mean threshold.

    Args:
        runs: {machine: scores} of each run, on one scale: by one back end and normalisation.

    Raises:
        InputError: the runs scored different clips.
    """
    found = {}
    for machine, first in runs[0].items():
        of = [run[machine] for run in runs if machine in run]
        same = all(np.array_equal(one.clips.files, first.clips.files) for one in of)
        # Scores are averaged by position, so the clips must be the same in the same order.
        if len(of) < len(runs) or not same:
            raise InputError(f"{machine}: the runs scored different clips")
        score = np.mean([one.score for one in of], axis=0)
        threshold = {
            section: float(np.mean([one.threshold[section] for one in of]))
            for section in first.threshold
        }
        # Each clip is judged by the mean threshold of its section.
        cut = np.array([threshold[section] for section in first.clips.section.tolist()])
        decision = (score > cut).astype(np.int64)
        found[machine] = MachineScores(first.clips, score, decision, threshold, ())
    return found
