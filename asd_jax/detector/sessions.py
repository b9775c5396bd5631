"""Which recordings belong together: sessions that are named, dated or parted by time, or
stretches of like sound.
"""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

GAP_MINUTES = 60.0  # between two files' ends: another session
_LIKE = 2.0  # times the usual difference between the halves of a window: still the same stretch
_DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?!\d{3})")


def named_sessions(
    names: Sequence[str], said: Sequence[str], modified: Sequence[float] | None = None
) -> tuple[list[str] | None, str]:
    """Names of recordings, what is said of their sessions, and when the files were written ->
    (session of each, how it is known); None where nothing tells.

    The first that tells some apart: what is said (a column, a subfolder), dates in the names,
    gaps of an hour and more between the files' times.
    """
    if len(set(said)) > 1:
        return [one or "unnamed" for one in said], "named"
    dates = [_date(name) for name in names]
    if all(dates):
        return dates, "dates in the names"
    if modified is not None and len(modified) > 1:
        order = np.argsort(modified, kind="stable")
        gaps = np.diff(np.asarray(modified, np.float64)[order]) > 60 * GAP_MINUTES
        number = np.empty(len(order), np.int64)
        number[order] = np.concatenate([[0], np.cumsum(gaps)])
        if number.any():
            return [f"session {one + 1}" for one in number], "gaps between the files' times"
    return None, "one or many: nothing tells"


def _date(name: str) -> str:
    """The day in a file's name or in a folder's, "" if there is none."""
    for part in reversed(Path(name).parts):
        for found in _DATE.finditer(part):
            try:
                return datetime.date(*map(int, found.groups())).isoformat()
            except ValueError:
                continue
    return ""


def stretches(
    level: Float[np.ndarray, "n f"],
    unsteadiness: Float[np.ndarray, "n"],
    recording: Int[np.ndarray, "n"],
    apart: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "n"]:
    """Windows -> the number of each one's stretch of like sound.

    Recordings are of one stretch if they differ no more than the halves of one window do: what
    they say of each other is what a single recording says of itself. Average linkage over the
    root mean square difference of log spectra. O(r^2 f) of r recordings.

    Args:
        level: mean log spectrum of each.
        unsteadiness: root mean square difference between its halves.
        recording: of each window.
        apart: windows of different numbers here are never of one stretch.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    numbers, of = np.unique(recording, return_inverse=True)
    spectra = np.stack([level[of == n].mean(0) for n in range(len(numbers))]).astype(np.float64)
    limit = _LIKE * float(np.median(unsteadiness))
    stretch = np.zeros(len(numbers), np.int64)
    for one in np.unique(apart):
        members = np.unique(of[apart == one])
        found = np.ones(1, np.int64)
        if len(members) > 1:
            distance = pdist(spectra[members]) / np.sqrt(spectra.shape[1])
            found = fcluster(linkage(distance, "average"), limit, "distance")
        stretch[members] = stretch.max() + found
    return np.unique(stretch[of], return_inverse=True)[1]
