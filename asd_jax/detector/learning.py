"""What a detector learns from normal recordings, at its fit and when further ones are added."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asd_jax.detector.fitting import FittedBank, above_threshold, fit_bank
from asd_jax.detector.grouping import check_domains
from asd_jax.detector.notes import Note
from asd_jax.detector.options import FitOptions, RecordingOptions
from asd_jax.detector.processing import Processed, process
from asd_jax.detector.recording_table import RecordingTable
from asd_jax.detector.settings import LONGEST_WINDOW_S, Settings, check_window, usual_window
from asd_jax.detector.views import for_machine, load_pipeline_or_eat, scoring_of
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.bank_fitting import Known
from asd_jax.scoring.normal_windows import SimulatedWindows
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.training.weights import Pipeline, origin_entries

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector


def fitted_attributes(
    waves: Iterable[np.ndarray],
    sample_rate: int,
    weights: str | Path | Pipeline | None,
    options: FitOptions,
) -> dict:
    """Returns the attributes of a detector that is fitted to recordings.

    Arguments and errors are those of `Detector.fit`.
    """
    names = options.get("names")
    domains = options.get("domains")
    window_seconds = options.get("window_seconds")
    coreset_size = options.get("coreset_size", 0)
    if not isinstance(coreset_size, int | np.integer) or coreset_size < 0:
        raise InputError(
            f"a coreset of {coreset_size} windows: must be at least 1, or 0 to keep all"
        )
    # Everything that can be wrong is checked before the first recording is processed.
    settings = Settings(
        sample_rate,
        LONGEST_WINDOW_S if window_seconds is None else window_seconds,
        options.get("false_alarm_rate", Settings.false_alarm_rate),
        options.get("tokens", Settings.tokens),
    )
    check_domains(() if domains is None else domains)
    pipeline, origin = _encoder(weights, options)
    waves, settings = with_window(waves, settings, default=window_seconds is None)
    processed, notes = process(pipeline, settings, waves, names)
    check_names(names, processed)
    fitted = fit_bank(
        scoring_of(pipeline, processed.vectors),
        settings,
        processed,
        RecordingTable.of(processed.names(names), options),
        coreset_size=coreset_size,
        first_removable=None if options.get("keep_odd", False) else 0,
    )
    learned = learned_attributes(fitted, notes)
    return {"pipeline": pipeline, "settings": settings, "origin": origin} | learned


def _encoder(
    weights: str | Path | Pipeline | None, options: FitOptions
) -> tuple[Pipeline | None, Mapping[str, str]]:
    """Returns (the encoder or None, where its weights come from)."""
    origin = options.get("origin") or {}
    if isinstance(weights, str | Path):
        path = weights
        weights = load_pipeline_or_eat(path)
        origin = origin_entries(path)
    pipeline = weights if weights is None else for_machine(weights, options.get("machine"))
    return pipeline, origin


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
    known: RecordingOptions,
    *,
    keep_odd: bool,
) -> dict:
    """Returns the attributes of a detector that learns further recordings, too.

    Arguments and errors are those of `Detector.update`.
    """
    names = known.get("names")
    domains = known.get("domains")
    pooled = detector.bank.domains == ["pooled"]
    if not pooled and (domains is None or set(domains) - {"source", "target"}):
        raise InputError(
            "this detector tells domains apart: say source or target of each recording added"
        )
    further, notes = process(detector.pipeline, detector.settings, waves, names)
    check_names(names, further)
    old = len(detector.names)
    table = RecordingTable.of(further.names(names, old), known)
    # Scored before they are learned: afterwards a fault among them would be normal.
    scores = fused(detector.bank.score(further.vectors))
    notes = [*notes, *above_threshold(scores, detector.threshold, further.windows, table)]
    if pooled:
        # A detector that does not distinguish domains ignores those of further recordings.
        table = dataclasses.replace(table, domains=("pooled",) * further.recordings)
    fitted = fit_bank(
        detector.bank.scoring,
        detector.settings,
        _processed(detector).with_more(further, old),
        recording_table(detector) + table,
        known=_known(detector, len(further.windows)) if detector.reduced else None,
        first_removable=None if keep_odd else old,
    )
    # The fit reports again what depends on the number of recordings.
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
