"""What was heard of normal sounds -> what a detector learns of them: who may vouch for whom, bank
and threshold.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.detector.hearing import Heard, Settings
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.conformal import conformal_threshold
from asd_jax.scoring.normal_bank import FEWEST, FOLDS, NormalBank
from asd_jax.scoring.options import Scoring

FEWEST_OF_A_DOMAIN = 4  # recordings; fewer make no bank of their own
_DUPLICATE = 0.02  # of the usual distance between neighbours: the same sound, perhaps coded anew


def fitted(
    scoring: Mapping[str, Scoring],
    settings: Settings,
    heard: Heard,
    group: np.ndarray,
    domain: np.ndarray,
    counted: np.ndarray,
    *,
    rows: Mapping[str, np.ndarray] | None = None,
    known: Mapping[str, np.ndarray] | None = None,
) -> tuple[NormalBank, float, tuple[str, ...]]:
    """Normal sounds, group and domain of each window -> (bank, threshold, notes for the user).

    Args:
        scoring, domain, group, counted, rows, known: as `NormalBank.fit`.
        settings: how many false alarms there may be.
        heard: of the normal sounds.

    Raises:
        InputError: as `NormalBank.fit`.
    """
    bank = NormalBank.fit(
        scoring, heard.vectors, domain, group, rows=rows, known=known, counted=counted
    )
    threshold, weak = conformal_threshold(bank.normal, settings.false_alarm_rate)
    return bank, threshold, (weak,) if weak else ()


def groups(settings: Settings, heard: Heard) -> np.ndarray:
    """The windows that must not vouch for each other: those of one recording, and of copies of it.

    Of fewer than three recordings: ten stretches of each.

    Raises:
        InputError: fewer than three windows.
    """
    recording, level = heard.recording, heard.vectors["level"]
    if len(recording) < FEWEST:
        raise InputError(
            f"{len(recording)} windows of {settings.window_seconds:g} s in {recording.max() + 1} "
            f"normal recordings: "
            f"at least {FEWEST} are needed, 20 or more are better; record longer, or use shorter "
            f"windows"
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
    """Pairs of recordings, lower number first, with a window that is all but the same."""
    distance, row = nearest(level, level, 1, "euclidean", leave_one_out=True)
    limit = _DUPLICATE * np.median(distance[:, 0])
    close = distance[:, 0] <= max(limit, 1e-6)
    pairs = {
        tuple(sorted(pair)) for pair in zip(recording[close], recording[row[close, 0]], strict=True)
    }
    return sorted((int(a), int(b)) for a, b in pairs if a != b)


def check_domains(domains: Sequence[str], files: Sequence[str] | None = None) -> None:
    """Raises InputError for another domain than source and target, unless all are unknown; names a
    file of each.
    """
    given = set(domains)
    if given != {"unknown"} and (wrong := given - {"source", "target"}):
        found = [
            f"{name!r}" + (f" ({files[list(domains).index(name)]})" if files else "")
            for name in sorted(given)
        ]
        raise InputError(
            f"domain {sorted(wrong)[0]!r}: every recording must be source or target, or all "
            f"unknown (by folder, "
            f"DCASE name or csv list); found {', '.join(found)}"
        )


def domains_of(
    domains: Sequence[str] | None, recording: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """The domain of each window, and a note where those given cannot be used.

    Raises:
        InputError: another domain than source and target, unless all are unknown.
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
