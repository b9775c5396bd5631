"""Learns the bank and the threshold of a detector from processed normal sounds.

This includes the grouping of windows that must not be compared with each other.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asd_jax.detector.hearing import Heard, Settings
from asd_jax.detector.sessions import stretches
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.new_session import new_session_threshold
from asd_jax.scoring.normal_bank import FEWEST, FOLDS, UNSURE, NormalBank
from asd_jax.scoring.options import Scoring

FEWEST_OF_A_DOMAIN = 4  # recordings; a domain with fewer gets no bank of its own
# Parts of notes that the next fit repeats, or that no longer apply after it.
_PASSING = (
    "cannot support a false-alarm rate",
    "cannot show how the machine sounds",
    "alone sets the threshold",
    "the threshold is ",
)
FEWEST_BESIDE = 8  # fewest recordings among which one can be recognised as an outlier
BESIDE = 6  # at most one in this many recordings is left out
FAR_OUT = 5.0  # self-score, in robust standard deviations, above which a recording is an outlier
_SILENT = 1e-3  # range of log energies below which a recording holds only the numerical floor
# Share of the median distance between neighbours. Closer windows are the same sound, possibly
# encoded again.
_DUPLICATE = 0.02


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What a detector learns from normal sounds.

    Attributes:
        bank: the normal sounds and their self-scores.
        threshold: score above which a sound is called anomalous.
        heard: the windows of the recordings that were kept.
        stayed: mask of the recordings that were kept.
        notes: notes for the user.
    """

    bank: NormalBank
    threshold: float
    heard: Heard
    stayed: np.ndarray
    notes: tuple[str, ...]


def of_a_condition_apart(domains: Sequence[str], of_window: np.ndarray) -> set[int]:
    """Returns the recordings of the rarer domain, if it is too rare for its own bank.

    These recordings are expected to be far from the others, which is therefore no sign of a fault.
    """
    if len(set(domains)) < 2 or len(set(of_window)) > 1:
        return set()
    rare = min(set(domains), key=list(domains).count)
    return {number for number, domain in enumerate(domains) if domain == rare}


def learnt(
    scoring: Mapping[str, Scoring],
    settings: Settings,
    heard: Heard,
    of_each: Mapping[str, Sequence],
    *,
    domain: Callable[[Heard, np.ndarray, Sequence], tuple[np.ndarray, Sequence[str]]],
    rows: Callable[[Heard], Mapping[str, np.ndarray] | None] = lambda heard: None,
    known: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    keep_odd: bool = False,
    first: int = 0,
) -> Learnt:
    """Returns the bank and the threshold learned from normal sounds.

    Recordings that are clear outliers are left out, and a note names them.

    Args:
        scoring: {view: its back ends}.
        settings: settings of the detector, including the false-alarm rate.
        heard: the windows of the normal sounds.
        of_each: {"names", "sessions", "domains", "trained": value of each recording}; a session is
            "" if the user gave none.
        domain: function from windows, group of each window and domains to (domain of each window,
            notes).
        rows: function from windows to the argument `rows` of `NormalBank.fit`.
        known: see `NormalBank.fit`.
        keep_odd: whether to keep all recordings.
        first: only recordings from this number on may be left out.

    Raises:
        InputError: as for `NormalBank.fit`.
    """
    before, notes = 0.0, []
    stayed = np.ones(int(heard.recording.max()) + 1, bool)
    most = max(1, len(stayed) // BESIDE)
    # Leaving out recordings changes the scores of the others, so the fit is repeated until no
    # outlier is left or too many would be left out.
    while True:
        own = {name: [of[n] for n in np.flatnonzero(stayed)] for name, of in of_each.items()}
        group = groups(settings, heard)
        of_window, told = domain(heard, group, own["domains"])
        named = all(own["sessions"])
        session = np.unique(own["sessions"], return_inverse=True)[1][heard.recording]
        if not named:
            level, apart = heard.vectors["level"], np.unique(of_window, return_inverse=True)[1]
            session = stretches(level, heard.unsteadiness, heard.recording, apart)
        bank = NormalBank.fit(
            scoring,
            heard.vectors,
            of_window,
            group,
            rows=rows(heard),
            known=known,
            counted=~np.asarray(own["trained"], bool)[heard.recording],
            session=session,
            moved=heard.moved if len(heard.moved[0]) else None,
            on_trial=("encoder",),
        )
        odd = [] if keep_odd or known else odd_recordings(bank, heard.recording, first)
        expected = of_a_condition_apart(own["domains"], of_window)
        odd = [n for n in odd if n not in expected]
        if not odd or len(notes) + len(odd) > most:
            break
        # The note compares the final threshold with that of the first fit, which used all
        # recordings.
        before = _threshold(bank, settings, named)[0] if not notes else before
        level = heard.vectors["level"]
        notes += [
            f"left out, as it is far from all others: {own['names'][n]}"
            + (" (silence)" if np.ptp(level[heard.recording == n]) < _SILENT else "")
            for n in odd
        ]
        heard = heard.without(odd)
        # `odd` numbers the recordings that are left, `stayed` those given.
        stayed[np.flatnonzero(stayed)[odd]] = False
    threshold, weak = _threshold(bank, settings, named)
    if notes:
        with_it = "they" if len(notes) > 1 else "it"
        notes.append(
            f"the threshold is {threshold:.2f}; with what was left out it would be {before:.2f}. "
            f"Listen: if {with_it} should be normal, fit with --keep_odd"
        )
    elif alone := sets_alone(bank, heard.recording, settings, named):
        number, without = alone
        notes.append(
            f"{own['names'][number]} alone sets the threshold of {threshold:.2f}; without it, it "
            f"would be {without:.2f}: listen to it"
        )
    notes += [*told, *filter(None, [weak]), *few_sessions(bank, named)]
    return Learnt(bank, threshold, heard, stayed, tuple(notes))


def _threshold(
    bank: NormalBank, settings: Settings, named: bool, rows: np.ndarray | None = None
) -> tuple[float, str]:
    """Returns (threshold, reason why it is unreliable, or "").

    It uses the scores of all normal sounds, or those in `rows`.
    """
    rows = np.ones(len(bank.normal), bool) if rows is None else rows
    by_sessions = any(bank.by_sessions.values())
    threshold, weak = new_session_threshold(
        bank.normal[rows],
        bank.normal_session[rows],
        settings.false_alarm_rate,
        random_effects=named and by_sessions,
    )
    return threshold * (1 if by_sessions else UNSURE), weak


def odd_recordings(bank: NormalBank, recording: np.ndarray, first: int = 0) -> list[int]:
    """Returns the recordings that are clear outliers, at most one in six.

    An outlier is far out, and at least twice as far as every recording that is kept.
    """
    numbers, of = np.unique(recording[bank.counted], return_inverse=True)
    score = np.bincount(of, bank.familiar) / np.bincount(of)
    falling = np.argsort(-score, kind="stable")
    for count in range(1, max(1, len(numbers) // BESIDE) + 1):
        chosen, rest = score[falling[:count]], score[falling[count:]]
        if len(numbers) < FEWEST_BESIDE or chosen.min() <= FAR_OUT:
            continue
        if chosen.min() > 2 * max(rest.max(), 1) and numbers[falling[:count]].min() >= first:
            return sorted(int(n) for n in numbers[falling[:count]])
    return []


def sets_alone(
    bank: NormalBank, recording: np.ndarray, settings: Settings, named: bool
) -> tuple[int, float] | None:
    """Returns (recording, threshold without it) if one recording sets the threshold, else None.

    This is the case if the threshold would be at least a quarter lower without the recording.
    """
    of = recording[bank.evidence]
    highest = int(of[bank.normal.argmax()])
    rest = of != highest
    if len(np.unique(of)) <= FEWEST_BESIDE // 2:
        return None
    without = _threshold(bank, settings, named, rest)[0]
    threshold = _threshold(bank, settings, named)[0]
    return (highest, without) if without < 0.75 * threshold else None


def lasting(notes: Sequence[str]) -> tuple[str, ...]:
    """Returns the notes of a fit that still apply after a fit with further recordings."""
    return tuple(note for note in notes if not any(part in note for part in _PASSING))


def few_sessions(bank: NormalBank, named: bool) -> list[str]:
    """Returns a note if there are too few sessions to see how they differ, else an empty list."""
    if all(bank.by_sessions.values()):
        return []
    count = len(np.unique(bank.session))
    heard = (
        f"{count} session{'s' * (count > 1)}"
        if named
        else (f"{count} stretch{'es' * (count > 1)} of like sound, as of one session,")
    )
    return [
        f"{heard} cannot show how the machine sounds on another day, so a usual difference of "
        f"microphone and speed is assumed: record ten minutes on {max(1, 3 - count)} more days, "
        "set up anew each time, and fit to all of them, a subfolder a day"
    ]


def groups(settings: Settings, heard: Heard) -> np.ndarray:
    """Returns the group "n" of each window.

    Windows of one group must not be compared with each other. A group holds the windows of one
    recording and of its copies. If there are fewer than three recordings, each is divided into ten
    stretches instead.

    Raises:
        InputError: there are fewer than three windows.
    """
    recording, level = heard.recording, heard.vectors["level"]
    if len(recording) < FEWEST:
        raise InputError(
            f"{len(recording)} windows of {settings.window_seconds:g} s in {recording.max() + 1} "
            f"normal recordings: at least {FEWEST} are needed, 20 or more are better; record "
            "longer, or use shorter windows"
        )
    if recording.max() + 1 < FEWEST:
        within = [np.arange((recording == r).sum()) for r in np.unique(recording)]
        stretch = np.concatenate(
            [part * min(FOLDS, len(part)) // max(len(part), 1) for part in within]
        )
        return np.unique(recording * FOLDS + stretch, return_inverse=True)[1]
    group = recording.copy()
    for a, b in copies(recording, level):
        group[group == group[recording == b][0]] = group[recording == a][0]
    return group


def copies(recording: np.ndarray, level: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of recordings, lower number first, that share an almost identical window."""
    distance, row = nearest(level, level, 1, "euclidean", leave_one_out=True)
    limit = _DUPLICATE * np.median(distance[:, 0])
    close = distance[:, 0] <= max(limit, 1e-6)
    pairs = {
        tuple(sorted(pair)) for pair in zip(recording[close], recording[row[close, 0]], strict=True)
    }
    return sorted((int(a), int(b)) for a, b in pairs if a != b)


def check_domains(domains: Sequence[str], files: Sequence[str] | None = None) -> None:
    """Raises InputError if a domain is neither source nor target, unless all domains are unknown.

    The message names a file for each domain if `files` is given.
    """
    given = set(domains)
    if given != {"unknown"} and (wrong := given - {"source", "target"}):
        found = [
            f"{name!r}" + (f" ({files[list(domains).index(name)]})" if files else "")
            for name in sorted(given)
        ]
        raise InputError(
            f"domain {sorted(wrong)[0]!r}: every recording must be source or target, or all "
            f"unknown (by folder, DCASE name or csv list); found {', '.join(found)}"
        )


def domains_of(
    domains: Sequence[str] | None, recording: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Returns the domain of each window, and a note if the given domains cannot be used.

    Raises:
        InputError: a domain is neither source nor target, and not all domains are unknown.
    """
    pooled, given = np.full(len(recording), "pooled"), set(() if domains is None else domains)
    check_domains(() if domains is None else domains)
    if domains is None or len(given) < 2:
        return pooled, []
    domain = np.asarray(domains)[recording]
    for name in ("source", "target"):
        count = min(len(np.unique(of[domain == name])) for of in (recording, group))
        if count < FEWEST_OF_A_DOMAIN:
            told = f"{count} {name} recordings (copies count as one) make no bank of their own"
            return pooled, [f"{told}: domains are not told apart"]
    return domain, []
