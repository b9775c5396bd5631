"""What a detector learns from normal recordings, at its fit and when further ones are added."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from asd_jax.detector.fitting import FittedBank, RecordingTable, above_threshold, fit_bank
from asd_jax.detector.notes import Note
from asd_jax.detector.processing import Processed, process
from asd_jax.detector.settings import Settings, check_window, usual_window
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.bank_fitting import Known
from asd_jax.scoring.normal_windows import SimulatedWindows
from asd_jax.scoring.patch_bank import PatchBank

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector


def learned_attributes(fitted: FittedBank, notes: Sequence[Note]) -> dict:
    """Returns the attributes of a detector that a fit determines; `notes` precede its own."""
    patches = fitted.processed.patches
    return {
        "bank": fitted.bank,
        "threshold": fitted.threshold,
        "notes": (*notes, *fitted.notes),
        "names": fitted.recordings.names,
        "sessions": fitted.recordings.sessions,
        "reduced": fitted.reduced,
        "patches": None if patches is None else PatchBank.fit(*patches),
    }


def updated_attributes(
    detector: "Detector",
    waves: Iterable[np.ndarray],
    *,
    names: Sequence[str] | None,
    domains: Sequence[str] | None,
    sessions: Sequence[str] | None,
    keep_outliers: bool,
) -> dict:
    """Returns the attributes of a detector that learns further recordings, too.

    Arguments and errors are those of `Detector.update`.
    """
    pooled = detector.bank.domains == ["pooled"]
    if not pooled and (domains is None or set(domains) - {"source", "target"}):
        raise InputError(
            "this detector tells domains apart: say source or target of each recording added"
        )
    further, notes = process(detector.pipeline, detector.settings, waves, names)
    check_names(names, further)
    old = len(detector.names)
    table = RecordingTable.of(further.names(names, old), sessions=sessions, domains=domains)
    # Scored before they are learned: afterwards a fault among them would be normal.
    scores = fused(detector.bank.score(further.vectors))
    notes = [*notes, *above_threshold(scores, detector.threshold, further.windows, table)]
    if pooled:
        table = dataclasses.replace(table, domains=("pooled",) * further.recordings)
    fitted = fit_bank(
        detector.bank.scoring,
        detector.settings,
        _processed(detector).with_more(further, old),
        recording_table(detector) + table,
        known=_known(detector, len(further.windows)) if detector.reduced else None,
        first_removable=None if keep_outliers else old,
    )
    lasting = [note for note in detector.notes if note.lasts]
    return learned_attributes(fitted, (*lasting, *notes))


def check_names(names: Sequence[str] | None, processed: Processed) -> None:
    """Raises InputError if names are given, but not one for each recording."""
    if names is not None and len(names) != processed.recordings:
        raise InputError(f"names of {len(names)} recordings, but {processed.recordings} are given")


def recording_table(detector: "Detector") -> RecordingTable:
    """Returns what a detector knows of each of its normal recordings."""
    windows = detector.bank.windows
    # All windows of a recording share its domain, so the first window represents it.
    first = np.unique(windows.recording, return_index=True)[1]
    return RecordingTable(
        names=detector.names,
        sessions=detector.sessions,
        domains=tuple(windows.domain[first].tolist()),
        trained=tuple((~windows.scored[first]).tolist()),
    )


def with_window(
    waves: Iterable[np.ndarray], settings: Settings, *, default: bool
) -> tuple[Iterable[np.ndarray], Settings]:
    """Returns (the waveforms, the settings with the length of a window).

    If `default`, the length is the usual one of the recordings; otherwise it is checked.
    """
    # The usual length depends on all recordings, so they are needed before the first is processed.
    if default:
        waves = list(waves)
        usual = usual_window([np.size(wave) / settings.sample_rate for wave in waves])
        return waves, dataclasses.replace(settings, window_seconds=usual)
    # The lengths of the waveforms of a generator are not known yet.
    if isinstance(waves, Sequence):
        seconds = [np.size(wave) / settings.sample_rate for wave in waves]
        check_window(settings.window_seconds, seconds)
    return waves, settings


def _processed(detector: "Detector") -> Processed:
    """Returns the stored windows; vectors that a coreset left out are zero, and never used."""
    bank = detector.bank
    count = len(bank.windows)
    vectors = {}
    for view, stored in bank.vectors.items():
        vectors[view] = np.zeros((count, *stored.shape[1:]), np.float32)
        vectors[view][bank.rows[view]] = stored
    patches = detector.patches
    simulated = bank.simulated
    # A bank without simulated windows has no vectors of them; empty ones can be joined with others.
    if not len(simulated):
        empty = {view: rows[:0] for view, rows in vectors.items()}
        simulated = SimulatedWindows(simulated.rows, empty)
    return Processed(
        bank.windows,
        vectors,
        simulated,
        None if patches is None else (patches.vectors, patches.recording),
    )


def _known(detector: "Detector", further: int) -> Known:
    """Returns what is known of the stored windows when `further` windows are added."""
    bank = detector.bank
    # Windows that the coreset left out cannot be scored again.
    new_rows = len(bank.windows) + np.arange(further)
    rows = {view: np.concatenate([stored, new_rows]) for view, stored in bank.rows.items()}
    return Known(bank.self_scores, bank.new_session_scores, rows)
