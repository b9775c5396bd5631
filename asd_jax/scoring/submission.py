"""DCASE submission files: anomaly scores and decisions of each machine and section."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_submission(folder: str | Path, machine: str, section, files, score, decision) -> list[Path]:
    """Clips of one machine, all "n" -> its anomaly_score_ and decision_result_ csv files, one pair per section.

    Rows are `<file name>,<value>` in the order of file names; scores are written so that they read back bit for bit.
    """
    section, files = np.asarray(section), np.array([Path(str(name)).name for name in files])
    written = []
    for one in sorted(set(section.tolist())):
        rows = [i for i in np.argsort(files, kind="stable") if section[i] == one]
        for kind, values in (
            ("anomaly_score", [float(score[i]) for i in rows]),
            ("decision_result", [int(decision[i]) for i in rows]),
        ):
            path = Path(folder) / f"{kind}_{machine}_section_{one}_test.csv"
            _write_csv(path, [(files[i], repr(value)) for i, value in zip(rows, values, strict=True)])
            written.append(path)
    return written


def _write_csv(path: Path, rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    os.replace(temporary, path)
