"""Fits the bank and the threshold of a detector to processed normal recordings."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.detector.grouping import domains_of, groups
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.outliers import BESIDE, most_anomalous, of_rare_domain, outlier_recordings
from asd_jax.detector.processing import Processed
from asd_jax.detector.recording_table import RecordingTable
from asd_jax.detector.sessions import stretches
from asd_jax.detector.settings import Settings
from asd_jax.detector.views import RESERVED
from asd_jax.scoring.bank_fitting import Known, NormalSounds, Views, fit_normal_bank
from asd_jax.scoring.coreset import coreset
from asd_jax.scoring.new_session import new_session_threshold
from asd_jax.scoring.normal_bank import NormalBank
from asd_jax.scoring.normal_windows import NormalWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.standardization import SIMULATION_MARGIN

_SILENT = 1e-3  # range of log energies below which a recording holds only the numerical floor
# Without a recording that sets the threshold alone, it is at most this share of it.
_LOWER = 0.75


@dataclasses.dataclass(frozen=True)
class FittedBank:
    """What a detector learns from normal sounds.

    Attributes:
        bank: the normal sounds and their self-scores.
        threshold: score above which a sound is called anomalous.
        recordings: the recordings that were kept.
        processed: their windows.
        notes: notes for the user.
        reduced: whether the bank keeps only a coreset.
    """

    bank: NormalBank
    threshold: float
    recordings: RecordingTable
    processed: Processed
    notes: tuple[Note, ...]
    reduced: bool


def fit_bank(
    scoring: Mapping[str, Scoring],
    settings: Settings,
    processed: Processed,
    recordings: RecordingTable,
    *,
    coreset_size: int = 0,
    known: Known | None = None,
    first_removable: int | None = 0,
) -> FittedBank:
    """Returns the bank and the threshold fitted to normal sounds.

    Recordings that are clear outliers are left out, and a note names them.

    Args:
        scoring: {view: its back ends}.
        settings: settings of the detector, including the false-alarm rate.
        processed: the windows of the recordings.
        recordings: what is known of them.
        coreset_size: number of the encoder's vectors to keep; 0 keeps all.
        known: what is known of the first windows, if only a coreset of them was kept.
        first_removable: number of the first recording that may be left out; None keeps all.

    Raises:
        InputError: as for `fit_normal_bank`.
    """
    fit = functools.partial(_bank, scoring, settings, coreset_size, known)
    bank, notes = fit(processed, recordings)
    with_outliers = bank
    left_out = []
    most = max(1, len(recordings.names) // BESIDE)
    # Leaving out recordings changes the scores of the others, so the fit is repeated until no
    # outlier is left or too many would be left out. Windows of a coreset cannot be scored again.
    while first_removable is not None and not known:
        expected = of_rare_domain(recordings.domains, bank)
        outliers = [n for n in outlier_recordings(bank, first_removable) if n not in expected]
        if not outliers or len(left_out) + len(outliers) > most:
            break
        left_out += [_left_out(n, processed, recordings) for n in outliers]
        processed = processed.without(outliers)
        recordings = recordings.without(outliers)
        bank, notes = fit(processed, recordings)
    threshold, weakness = threshold_of(bank, settings, recordings)
    return FittedBank(
        bank=bank,
        threshold=threshold,
        recordings=recordings,
        processed=processed,
        notes=(
            *left_out,
            *_on_threshold(bank, settings, recordings, with_outliers if left_out else None),
            *notes,
            *([Note(Kind.TOO_FEW, weakness)] if weakness else []),
            *few_sessions(bank, recordings.sessions_given),
        ),
        reduced=known is not None or _rows(scoring, processed, coreset_size) is not None,
    )


def _bank(
    scoring: Mapping[str, Scoring],
    settings: Settings,
    coreset_size: int,
    known: Known | None,
    processed: Processed,
    recordings: RecordingTable,
) -> tuple[NormalBank, Sequence[Note]]:
    """Returns the bank of recordings, and notes on their domains."""
    windows = processed.windows
    level = processed.vectors["level"]
    group = groups(windows.recording, level, settings.window_seconds)
    domain, notes = domains_of(recordings.domains, windows.recording, group)
    # Sessions that the user gave are taken as they are.
    session = np.unique(recordings.sessions, return_inverse=True)[1][windows.recording]
    if not recordings.sessions_given:
        # A stretch never spans two domains, which differ by definition.
        number = np.unique(domain, return_inverse=True)[1]
        session = stretches(level, windows.unsteadiness, windows.recording, number)
    windows = dataclasses.replace(
        windows,
        domain=domain,
        group=group,
        session=session,
        scored=~np.asarray(recordings.trained, bool)[windows.recording],
    )
    bank = fit_normal_bank(
        # The encoder was not trained for this machine, so it votes only if it helps.
        Views(scoring, on_trial=("encoder",), reserved=RESERVED),
        NormalSounds(
            windows, processed.vectors, processed.simulated, named=recordings.sessions_given
        ),
        rows=_rows(scoring, processed, coreset_size) if known is None else known.rows,
        known=known,
    )
    return bank, notes


def _rows(
    scoring: Mapping[str, Scoring], processed: Processed, coreset_size: int
) -> dict[str, np.ndarray] | None:
    """Returns {view: the windows whose vectors are kept}; None for all of them."""
    count = len(processed.windows)
    if "encoder" not in scoring or not 0 < coreset_size < count:
        return None
    chosen = coreset(processed.vectors["encoder"], coreset_size)
    return dict.fromkeys(scoring, np.arange(count)) | {"encoder": chosen}


def threshold_of(
    bank: NormalBank,
    settings: Settings,
    recordings: RecordingTable,
    rows: np.ndarray | None = None,
) -> tuple[float, str]:
    """Returns (threshold, reason why it is unreliable, or "").

    It uses the scores of all normal sounds, or those in `rows`.
    """
    rows = np.ones(len(bank.normal), bool) if rows is None else rows
    # Without recorded sessions the threshold rests on simulated ones, hence the margin below.
    by_sessions = any(bank.by_sessions.values())
    threshold, weakness = new_session_threshold(
        bank.normal[rows],
        bank.normal_session[rows],
        settings.false_alarm_rate,
        random_effects=recordings.sessions_given and by_sessions,
    )
    return threshold * (1 if by_sessions else SIMULATION_MARGIN), weakness


def _left_out(number: int, processed: Processed, recordings: RecordingTable) -> Note:
    """Returns the note that a recording was left out."""
    level = processed.vectors["level"][processed.windows.recording == number]
    # Silence is far from every sound, and needs another remedy than a fault.
    silent = " (silence)" if np.ptp(level) < _SILENT else ""
    name = recordings.names[number]
    return Note(Kind.LEFT_OUT, f"left out, as it is far from all others: {name}{silent}")


def _on_threshold(
    bank: NormalBank,
    settings: Settings,
    recordings: RecordingTable,
    with_outliers: NormalBank | None,
) -> list[Note]:
    """Returns a note if outliers, before they were left out, or one recording set the threshold."""
    threshold = threshold_of(bank, settings, recordings)[0]
    if with_outliers is not None:
        before = threshold_of(with_outliers, settings, recordings)[0]
        message = (
            f"the threshold is {threshold:.2f}; with what was left out it would be {before:.2f}. "
            "Listen: if they should be normal, fit with --keep_odd"
        )
        return [Note(Kind.THRESHOLD, message)]
    most_anomalous_recording = most_anomalous(bank)
    if most_anomalous_recording is None:
        return []
    number, others = most_anomalous_recording
    without = threshold_of(bank, settings, recordings, others)[0]
    if without >= _LOWER * threshold:
        return []
    message = (
        f"{recordings.names[number]} alone sets the threshold of {threshold:.2f}; without it, it "
        f"would be {without:.2f}: listen to it"
    )
    return [Note(Kind.THRESHOLD, message)]


def above_threshold(
    scores: np.ndarray, threshold: float, windows: NormalWindows, recordings: RecordingTable
) -> list[Note]:
    """Returns a note if recordings that are to be learned are anomalous so far, else an empty list.

    Args:
        scores: scores "n" of their windows, by the detector that is to learn them.
        threshold: its threshold.
        windows: the windows.
        recordings: what is known of the recordings.
    """
    # The median is used, because a single loud window is no reason to suspect a recording.
    median = [np.median(scores[windows.recording == n]) for n in range(len(recordings.names))]
    above = [n for n, score in enumerate(median) if score > threshold]
    if not above:
        return []
    highest = max(above, key=lambda n: median[n])
    message = (
        f"{len(above)} of {len(median)} recordings added are above the threshold so far, e.g. "
        f"{recordings.names[highest]} ({median[highest]:.2f} of {threshold:.2f}): what they have "
        "in common is normal from now on; listen to them, a fault must not be added"
    )
    return [Note(Kind.THRESHOLD, message)]


def few_sessions(bank: NormalBank, given: bool) -> list[Note]:
    """Returns a note if there are too few sessions to see how they differ, else an empty list.

    `given` states whether the user named the sessions.
    """
    if all(bank.by_sessions.values()):
        return []
    count = len(np.unique(bank.windows.session))
    known = (
        f"{count} session{'s' * (count > 1)}"
        if given
        else f"{count} stretch{'es' * (count > 1)} of similar sound, as of one session,"
    )
    message = (
        f"{known} cannot show how the machine sounds on another day, so a usual difference of "
        f"microphone and speed is assumed: record ten minutes on {max(1, 3 - count)} more days, "
        "with the microphone set up again each time, and fit to all of them, one subfolder per day"
    )
    return [Note(Kind.SESSIONS, message)]
