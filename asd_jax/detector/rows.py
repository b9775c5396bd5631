"""Formats the results of scored recordings as JSON objects, csv lines and a table on the screen."""

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from asd_jax.detector.notes import Kind
from asd_jax.detector.verdict import VIEW_WORDS, Verdict
from asd_jax.reporting.table import print_table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.log import print_error, print_line, print_result

COLUMNS: tuple[str, ...] = (
    "file",
    "score",
    "threshold",
    "is_anomaly",
    "p_value",
    "worst_start",
    "worst_end",
    "odd",
    "note",
    "highest",
    "flags",
    "where",
    "low_hz",
    "high_hz",
    "decibels",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters that make a cell a formula


def row(path: str, verdict: Verdict | InputError) -> dict:
    """Returns the columns of a recording's result, or the error if it cannot be scored."""
    if isinstance(verdict, InputError):
        return {"file": path, "error": str(verdict)}
    band = verdict.band
    values = {
        "file": path,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "is_anomaly": verdict.is_anomaly,
        "p_value": verdict.p_value,
        "worst_start": verdict.worst_seconds[0],
        "worst_end": verdict.worst_seconds[1],
        "odd": verdict.view,
        "note": verdict.note,
        "highest": float(verdict.windows.max()),
        "flags": " ".join(note.kind for note in verdict.notes),
        "where": str(band or ""),
        "low_hz": band.low_hz if band else 0.0,
        "high_hz": band.high_hz if band else 0.0,
        "decibels": band.decibels if band else 0.0,
    }
    return {
        # A score has no more digits than float32.
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in values.items()
    }


def printed(rows: Iterable[dict], *, as_json: bool, only: bool = False) -> Iterator[dict]:
    """Yields the rows unchanged, and prints errors to stderr and objects to stdout.

    Raises:
        OutputFailed: standard output is the only place for the results and cannot be written to.
    """
    show = print_result if only else print_line
    for values in rows:
        if "error" in values:
            print_error(f"error: {values['error']}")
        elif as_json:
            show(json.dumps(values))
        yield values


def write_csv(path: str | Path, rows: Iterable[dict]) -> None:
    """Writes the rows of recordings that could be scored, atomically, one at a time.

    A file called =1+1.wav is written as ./=1+1.wav. This is the same file, but a spreadsheet that
    opens the list does not take it for a formula.
    """
    with atomic_file(path) as file:
        table = csv.DictWriter(codecs.getwriter("utf-8")(file, "backslashreplace"), COLUMNS)
        table.writeheader()
        for values in rows:
            if "error" not in values:
                formula = values["file"].startswith(_FORMULA)
                table.writerow(values | {"file": f"./{values['file']}"} if formula else values)


def print_rows(rows: Iterable[dict], threshold: float, *, table: bool) -> None:
    """Prints the number of anomalous recordings to stderr, after a table if `table`."""
    screen = Table(title=f"threshold {threshold:.3f}", header_style="bold")
    # Long names are folded, because names that are cut off all look alike.
    screen.add_column("file", overflow="fold")
    for column in ("score", "p-value", "verdict", "worst at", "differs in", "where"):
        screen.add_column(column, justify="right" if column in ("score", "p-value") else "left")
    for values in (values for values in rows if table and "error" not in values):
        kinds = ", ".join(values["flags"].split())
        decision = Text("anomaly", "bold red") if values["is_anomaly"] else Text("normal")
        screen.add_row(
            values["file"],
            f"{values['score']:.3f}",
            f"{values['p_value']:.3f}",
            Text.assemble(decision, f" ({kinds})" if kinds else ""),
            f"{values['worst_start']:.1f} to {values['worst_end']:.1f} s",
            VIEW_WORDS[values["odd"]],
            values["where"],
        )
    if table:
        print_table(screen)
    anomalous = [values["is_anomaly"] for values in rows if "error" not in values]
    print_error(f"{sum(anomalous)} of {len(anomalous)} anomalous")


def report_short(rows: Iterable[dict], window_seconds: float) -> None:
    """Prints to stderr how many recordings are too short for the detector, if any."""
    # Rows may come from an archive's files, so the kinds are read back from their text.
    flags = [values["flags"].split() for values in rows if "error" not in values]
    if short := sum(Kind.SHORT in kinds for kinds in flags):
        print_error(
            f"{short} of {len(flags)} recordings are shorter than the window of "
            f"{window_seconds:g} s: their scores are not comparable, most will seem anomalous; "
            "fit a detector with --window_seconds of their length"
        )
