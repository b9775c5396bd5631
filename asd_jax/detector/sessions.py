"""Groups recordings into sessions: by name, by date, by time, or by stretches of similar sound."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

GAP_MINUTES = 60.0  # a longer gap between the ends of two files starts a new session
# Recordings of one stretch differ by at most this multiple of the median difference between the
# halves of a window.
_LIKE = 2.0
_DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?!\d{3})")


def named_sessions(
    names: Sequence[str], given: Sequence[str], modified: Sequence[float] | None = None
) -> tuple[list[str] | None, str]:
    """Returns (session of each recording or None, how it is known).

    Uses the first source that distinguishes sessions: the given sessions, dates in the names, or
    gaps of at least an hour between the times of the files.

    Args:
        names: names of the recordings.
        given: session of each recording from a column or a subfolder, or "".
        modified: time at which each file was written, in seconds.
    """
    if len(set(given)) > 1:
        return [session or "unnamed" for session in given], "named"
    dates = [_date(name) for name in names]
    # One date alone is enough: all recordings are then of one session.
    if all(dates):
        return dates, "dates in the names"
    if modified is not None and len(modified) > 1:
        order = np.argsort(modified)
        # Copying may give all files one time, which makes no gap and one session.
        gaps = np.diff(np.asarray(modified, np.float64)[order]) > 60 * GAP_MINUTES
        number = np.empty(len(order), np.int64)
        number[order] = np.concatenate([[0], np.cumsum(gaps)])
        if number.any():
            return [f"session {n + 1}" for n in number], "gaps between the files' times"
    return None, "unknown"


def _date(name: str) -> str:
    """Returns the date in the name of a file or of a folder above it, or "" if there is none."""
    for part in reversed(Path(name).parts):
        for match in _DATE.finditer(part):
            try:
                return datetime.date(*map(int, match.groups())).isoformat()
            except ValueError:
                continue
    return ""


def stretches(
    level: Float[np.ndarray, "n f"],
    unsteadiness: Float[np.ndarray, "n"],
    recording: Int[np.ndarray, "n"],
    apart: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "n"]:
    """Returns the number "n" of the stretch of similar sound that each window belongs to.

    Recordings belong to one stretch if they differ no more than the halves of one window do:
    together they then show no more variation than a single recording does. Uses average linkage
    over the root mean square difference of log spectra. Takes O(r^2 f) for r recordings.

    Args:
        level: mean log spectrum of each window.
        unsteadiness: root mean square difference between the halves of each window.
        recording: recording of each window.
        apart: windows with different numbers here never belong to one stretch.
    """
    # Only fits need these parts of scipy, which would make each score start 0.1 s later.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    numbers, position = np.unique(recording, return_inverse=True)
    means = [level[position == n].mean(0) for n in range(len(numbers))]
    # The spectra are in float64, because the differences of similar ones are small.
    spectra = np.stack(means).astype(np.float64)
    # The measure of similarity is the machine itself: how much it changes within a window.
    limit = _LIKE * float(np.median(unsteadiness))
    stretch = np.zeros(len(numbers), np.int64)
    for part in np.unique(apart):
        members = np.unique(position[apart == part])
        clusters = np.ones(1, np.int64)
        # A linkage needs at least two recordings.
        if len(members) > 1:
            distance = pdist(spectra[members]) / np.sqrt(spectra.shape[1])
            clusters = fcluster(linkage(distance, "average"), limit, "distance")
        stretch[members] = stretch.max() + clusters
    return np.unique(stretch[position], return_inverse=True)[1]
