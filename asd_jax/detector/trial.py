"""Decides from normal sounds alone whether an encoder helps the filter bank."""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np

from asd_jax.data.simulated_faults import simulated_fault
from asd_jax.data.simulated_session import simulated_session
from asd_jax.detector.fitting import RecordingTable, fit_bank
from asd_jax.detector.processing import Processed
from asd_jax.detector.settings import Settings
from asd_jax.detector.views import rate_of, views
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.options import Scoring
from asd_jax.training.weights import Pipeline

AUTO = "auto"  # the name of the weights that are on trial
WINDOWS = 64  # that are given faults
LEAST_GAIN = 0.01  # of the AUC, below which an encoder is not worth its time and its risk


class FaultyWindows:
    """Collects views of normal windows in another session, without and with a simulated fault.

    Windows are taken from the recordings in order, one of each, until there are enough.
    """

    def __init__(self, pipeline: Pipeline):
        self._pipeline = pipeline
        self._found: list[tuple[int, dict[str, np.ndarray]]] = []

    def add(self, windows: np.ndarray, recording: int) -> None:
        """Adds one window of a recording."""
        if len(self._found) >= WINDOWS:
            return
        rate = rate_of(self._pipeline)
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(windows[0])))
        # The fault comes on another day, and the same day without it is the comparison.
        healthy = simulated_session(windows[rng.integers(len(windows))], rate)
        faulty = simulated_fault(healthy, rate, rng)
        pair = np.stack([healthy, faulty.clip(-1, 1)])
        self._found.append((recording, views(self._pipeline, pair)[0]))

    @property
    def recording(self) -> np.ndarray:
        """Returns the recording of each window, "n"."""
        return np.array([recording for recording, _ in self._found])

    def vectors(self, fault: bool, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns {view: vectors of the windows in `rows`}, with the fault or without."""
        of = [found for (_, found), row in zip(self._found, rows, strict=True) if row]
        return {view: np.stack([one[view][int(fault)] for one in of]) for view in of[0]}


@dataclasses.dataclass(frozen=True)
class Trial:
    """AUC of simulated faults, without the encoder and with it."""

    without: float
    with_encoder: float

    @property
    def helps(self) -> bool:
        """Returns whether the encoder is worth using."""
        return self.with_encoder >= self.without + LEAST_GAIN

    def said(self) -> str:
        """Returns the result in words."""
        found = f"AUC {self.with_encoder:.3f} with it, {self.without:.3f} without"
        if self.helps:
            return f"the encoder helps on simulated faults ({found}), so it is used"
        return f"the encoder does not help on simulated faults ({found}), so it is not used"


def trial(
    scoring: Mapping[str, Scoring],
    settings: Settings,
    processed: Processed,
    recordings: RecordingTable,
    windows: FaultyWindows,
) -> Trial:
    """Returns how well simulated faults are told from normal sounds with the encoder and without.

    Recordings are scored by a fit to the other half of them.
    """
    half = np.arange(processed.recordings) % 2
    labels, scores = [], {True: [], False: []}
    for left_out in (0, 1):
        rows = half[windows.recording] == left_out
        out = np.flatnonzero(half == left_out).tolist()
        rest = processed.without(out), recordings.without(out)
        bank = fit_bank(scoring, settings, *rest, keep_outliers=True).bank
        for fault in (False, True):
            of = bank.score(windows.vectors(fault, rows))
            labels += [fault] * int(rows.sum())
            plain = {one: values for one, values in of.items() if not one.startswith("encoder/")}
            scores[False].append(fused(plain))
            scores[True].append(fused(of))
    found = {key: np.concatenate(parts) for key, parts in scores.items()}
    label = np.array(labels)
    return Trial(*(float(auc(*tie_groups(label, found[key]))) for key in (False, True)))
