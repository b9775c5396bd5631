"""Reads clips.csv, in which users describe recordings whose names carry no information."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name

COLUMNS = ("file", "label", "domain", "attribute", "section", "session")
_LABELS = {"normal": 0, "anomaly": 1, "0": 0, "1": 1, "": -1, "-1": -1, "unknown": -1}
_DOMAINS = {"source": "source", "target": "target", "": "source", "unknown": "unknown"}


def add_table(path: Path, clips: dict[str, Any]) -> dict[str, Any]:
    """Returns the clips with the information from the table added.

    Args:
        path: The table, with the column file and any of label, domain, attribute, section and
            session. It may be missing.
        clips: The clips by file name relative to the machine's folder, e.g. {"train/pump 1.wav":
            Clip(...)}. Those that the table does not mention stay as they are.

    Raises:
        InputError: A line has an unknown file, label or domain, or marks a clip in train/ as an
            anomaly. The message names the line.
    """
    if not path.is_file():
        return clips
    described = dict(clips)
    # Line 1 is the header.
    for number, row in enumerate(_rows(path), start=2):
        # Spreadsheets often write empty lines below the last one.
        if not any(row.values()):
            continue
        at = f"{path}: line {number}"
        # A path normalises "./train/a.wav" and "train//a.wav" to the names in `clips`.
        file = Path(row["file"]).as_posix()
        if file not in clips:
            raise InputError(
                f"{at} names {file!r}, which is not there (names are relative to the table)"
            )
        clip = clips[file]
        changes = {key: row[key] for key in ("attribute", "section") if row.get(key)}
        for kind in ("attribute", "section"):
            if kind in changes:
                check_name(kind, changes[kind], at=at)
        if "domain" in row:
            changes["domain"] = _meaning(at, "domain", row["domain"], _DOMAINS)
        if "label" in row:
            changes["label"] = _meaning(at, "label", row["label"], _LABELS)
        # Clips in train/ are normal whether or not the table labels them.
        if clip.split == "train":
            if changes.pop("label", 0) == 1:
                raise InputError(
                    f"{at} calls {file} an anomaly; the train folder is for normal sound only"
                )
        described[file] = dataclasses.replace(clip, **changes)
    return described


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns (columns, rows) of a csv file with a header; missing cells are "".

    Raises:
        InputError: The file cannot be read.
    """
    try:
        # Spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = list(table.fieldnames or ())
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as csv ({error})") from error
    # csv collects surplus cells under None, and fills missing ones with None.
    return columns, [
        {key: (value or "").strip() for key, value in row.items() if key} for row in rows
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    columns, rows = read_table(path)
    if "file" not in columns or set(columns) - set(COLUMNS):
        raise InputError(
            f"{path}: expected a header of file and any of {', '.join(COLUMNS[1:])}; found "
            f"{columns}"
        )
    return rows


def _meaning(at: str, column: str, word: str, meanings: dict):
    if word.lower() not in meanings:
        raise InputError(
            f"{at} has the {column} {word!r}; write {', '.join(filter(None, meanings))} or nothing"
        )
    return meanings[word.lower()]
