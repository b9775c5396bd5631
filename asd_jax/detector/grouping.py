"""Groups windows that must not be compared with each other, and assigns their domains."""

from collections.abc import Sequence

import numpy as np

from asd_jax.detector.notes import Kind, Note
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.normal_bank import FEWEST_TO_COMPARE
from asd_jax.scoring.scorers import FOLDS

FEWEST_OF_A_DOMAIN = 4  # recordings; a domain with fewer gets no bank of its own
# Share of the median distance between neighbours. Closer windows are the same sound, possibly
# encoded again.
_DUPLICATE = 0.02


def groups(recording: np.ndarray, level: np.ndarray, window_seconds: float) -> np.ndarray:
    """Returns the group "n" of each window.

    A group holds the windows of one recording and of its copies. If there are fewer than three
    recordings, each is divided into ten stretches instead.

    Args:
        recording: recording of each window, "n".
        level: mean log spectrum of each window, "n f".
        window_seconds: length of a window.

    Raises:
        InputError: there are fewer than three windows.
    """
    if len(recording) < FEWEST_TO_COMPARE:
        raise InputError(
            f"{len(recording)} windows of {window_seconds:g} s in {recording.max() + 1} normal "
            f"recordings: at least {FEWEST_TO_COMPARE} are needed, 20 or more are better; record "
            "longer, or use shorter windows"
        )
    if recording.max() + 1 < FEWEST_TO_COMPARE:
        # Neighbouring windows are alike, so they are held out together, as a stretch.
        counts = [(recording == number).sum() for number in np.unique(recording)]
        stretch = np.concatenate([np.arange(n) * min(FOLDS, n) // n for n in counts])
        return np.unique(recording * FOLDS + stretch, return_inverse=True)[1]
    # A copy of a recording would make it look normal, so both are one group.
    group = recording.copy()
    for a, b in copies(recording, level):
        group[group == group[recording == b][0]] = group[recording == a][0]
    return group


def copies(recording: np.ndarray, level: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of recordings, lower number first, that share an almost identical window."""
    distance, row = nearest(level, level, 1, "euclidean", leave_one_out=True)
    limit = _DUPLICATE * np.median(distance[:, 0])
    # If most windows are equal, the limit is 0 but for rounding.
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
        listed = [
            f"{name!r}" + (f" ({files[list(domains).index(name)]})" if files else "")
            for name in sorted(given)
        ]
        raise InputError(
            f"domain {sorted(wrong)[0]!r}: every recording must be source or target, or all "
            f"unknown (by folder, DCASE name or csv list); found {', '.join(listed)}"
        )


def domains_of(
    domains: Sequence[str], recording: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Returns the domain of each window, and a note if the given domains cannot be used.

    Args:
        domains: domain of each recording; all windows are "pooled" if there is only one.
        recording: recording of each window, "n".
        group: group of each window, "n".
    """
    pooled = np.full(len(recording), "pooled")
    if len(set(domains)) < 2:
        return pooled, ()
    domain = np.asarray(domains)[recording]
    # Both domains must be large enough; one bank alone would call the other domain a fault.
    for name in ("source", "target"):
        # Copies are different recordings of one group, so the smaller number counts.
        count = min(len(np.unique(number[domain == name])) for number in (recording, group))
        if count < FEWEST_OF_A_DOMAIN:
            message = (
                f"{count} {name} recordings (copies count as one) make no bank of their own: "
                "domains are not told apart"
            )
            return pooled, (Note(Kind.DOMAINS, message),)
    return domain, ()
