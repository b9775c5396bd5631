"""Writes alarm cases as tables: text, csv, and labels for Audacity."""

import csv
import datetime
import io
from collections.abc import Sequence

from asd_jax.monitoring.cases import Case
from asd_jax.runtime.errors import InputError

COLUMNS: tuple[str, ...] = (
    "case",
    "machine",
    "state",
    "raised",
    "cleared",
    "acknowledged",
    "acknowledged_by",
    "note",
    "peak",
    "threshold",
    "occurrences",
    "message",
    "evidence",
)


def clock(time: float | None) -> str:
    """Returns a Unix time as local date and time with its offset; "" for None."""
    if time is None:
        return ""
    # The offset is shown, because the hour that comes twice in autumn is ambiguous without it.
    return datetime.datetime.fromtimestamp(time).astimezone().isoformat(" ", "seconds")


def row_of(case: Case, now: float) -> dict[str, str | int | float]:
    """Returns {column: value} of a case; the columns are COLUMNS."""
    # Threshold, message and evidence may differ between occurrences; the last one counts.
    last = case.occurrences[-1]
    values = (
        case.id,
        case.machine,
        case.state(now),
        clock(case.raised),
        clock(case.cleared),
        clock(case.acknowledged),
        case.acknowledged_by,
        case.note,
        round(case.peak, 4),
        round(last.threshold, 4),
        len(case.occurrences),
        last.message,
        last.evidence,
    )
    return dict(zip(COLUMNS, values, strict=True))


def as_csv(cases: Sequence[Case], now: float) -> str:
    """Returns the cases as csv with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row_of(case, now) for case in cases)
    return text.getvalue()


def as_audacity_labels(cases: Sequence[Case], start: float, now: float) -> str:
    """Returns a label track for Audacity: start, end and text of each occurrence, tab-separated.

    Args:
        cases: the cases.
        start: Unix time at which the recording begins that the labels belong to.
        now: end of an occurrence that is still on.

    Raises:
        InputError: every alarm was before `start`.
    """
    occurrences = sorted(
        (
            one.started,
            now if one.ended is None else one.ended,
            f"{case.machine} case {case.id}: {one.message or f'score {one.peak:.2f}'}",
        )
        for case in cases
        for one in case.occurrences
    )
    labels = [
        # An alarm that was on before the recording began is labelled from its beginning.
        f"{max(began - start, 0):.6f}\t{ended - start:.6f}\t{' '.join(text.split())}\n"
        for began, ended, text in occurrences
        if ended >= start
    ]
    if occurrences and not labels:
        raise InputError(f"no alarm since {clock(start)}: name an earlier start of the recording")
    return "".join(labels)
