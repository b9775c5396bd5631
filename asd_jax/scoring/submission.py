"""Writes, reads and checks DCASE submission files.

A submission holds the anomaly scores and the decisions for every machine and section.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.names import check_name
from asd_jax.scoring.labels import Labels, labels_from_name

# File names end in _id_<ID>.csv in 2020, in _section_<SS>_<domain>_test.csv in 2021 and in
# _section_<SS>_test.csv since 2022.
_NAME = re.compile(
    r"(?P<kind>anomaly_score|decision_result)_(?P<machine>.+?)"
    r"_(?:id_(?P<id>\d+)|section_(?P<section>\d+)(?:_(?P<domain>source|target))?_test)\.csv"
)


class ScoredClip(NamedTuple):
    """One row of a submission.

    Unknown values are domain "unknown", label -1 and decision None.
    """

    machine: str
    section: str
    file: str
    domain: str
    label: int
    score: float
    decision: int | None


def write_submission(
    folder: str | Path,
    machine: str,
    section,
    files,
    score,
    decision,
    *,
    year: int = 2022,
    domain=(),
) -> list[Path]:
    """Writes the anomaly_score_ and decision_result_ csv files of one machine, a pair per section.

    Returns the paths of the files. Rows are `<file name>,<value>`, sorted by file name; scores are
    written with enough digits to be read back exactly. File names follow the year: they contain the
    machine ID in 2020, and the section and the domain (which must be given) in 2021.

    Args:
        folder: where the files are written.
        machine: the machine's name.
        section: section (or machine ID) of each clip, "n".
        files: file name of each clip, "n".
        score: anomaly score of each clip, "n".
        decision: 1 (anomalous) or 0 (normal) for each clip, "n".
        year: the year of the challenge.
        domain: domain of each clip, "n"; needed for 2021 only.
    """
    section, files = np.asarray(section), np.array([Path(str(name)).name for name in files])
    ends = [f"section_{s}_test" for s in section]
    if year == 2020:
        ends = [f"id_{s}" for s in section]
    elif year == 2021:
        ends = [f"section_{s}_{d}_test" for s, d in zip(section, domain, strict=True)]
    written = []
    for one in sorted(set(ends)):
        rows = [i for i in np.argsort(files, kind="stable") if ends[i] == one]
        for kind, values in (
            ("anomaly_score", [float(score[i]) for i in rows]),
            ("decision_result", [int(decision[i]) for i in rows]),
        ):
            path = Path(folder) / f"{kind}_{machine}_{one}.csv"
            _write_csv(
                path, [(files[i], repr(value)) for i, value in zip(rows, values, strict=True)]
            )
            written.append(path)
    return written


def submission_files(folder: Path) -> set[Path]:
    """Returns the paths of the score and decision files in a folder."""
    return {path for path in folder.glob("*.csv") if _NAME.fullmatch(path.name) and path.is_file()}


def read_submission(
    folder: str | Path,
    *,
    machines: Sequence[str] = (),
    labels: Labels | None = None,
    expected: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    complete: bool = False,
) -> list[ScoredClip]:
    """Returns every scored clip in a submission folder, sorted by machine, section and file name.

    Args:
        folder: the folder; files with other names are ignored.
        machines: the machines to read; empty reads all that are found.
        labels: domain and label of each clip; None takes them from the file names.
        expected: {machine: (section, domain) pairs} that must be present; the domain is "" if the
            files are not split by domain.
        complete: whether every section needs a decision file; otherwise either all sections have
            one or none has.

    Raises:
        InputError: the folder has problems; the message lists all of them, one per line.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder of anomaly_score_*.csv files")
    problems: list[str] = []
    paths = {}
    for path in sorted(Path(folder).iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and (not machines or match["machine"] in machines):
            paths[path.name] = path, match
    values = {
        name: _read_values(path, match["kind"], problems) for name, (path, match) in paths.items()
    }
    clips = []
    for name, (path, match) in paths.items():
        if match["kind"] == "anomaly_score":
            decisions = values.get(name.replace("anomaly_score", "decision_result", 1))
            clips += _clips(path, match, values[name], decisions, labels, problems)
        elif name.replace("decision_result", "anomaly_score", 1) not in paths:
            problems.append(f"{path}: no anomaly scores of this section beside it")
    problems += _missing(Path(folder), clips, machines, expected)
    problems += _incomplete(Path(folder), paths, complete)
    problems += _across_files(folder, clips, labels)
    if problems:
        raise InputError(f"{folder}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return sorted(clips)


def _read_values(path: Path, kind: str, problems: list[str]) -> dict[str, float]:
    """Returns {file name: value} of one csv file and appends its problems to `problems`."""
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path}: not readable as UTF-8 csv ({error})")
        return {}
    found: dict[str, float] = {}
    before = len(problems)
    for number, row in enumerate(rows, start=1):
        try:
            file, value = row[0], float(row[1])
            # A byte order mark would become part of the first file name.
            if len(row) > 2 or not file or file.startswith("\ufeff"):
                raise ValueError
            check_name("path", file)
        except (IndexError, ValueError):
            problems.append(
                f"{path}: line {number} is {','.join(row)!r}; expected <file name>,<value>, no "
                "header"
            )
            continue
        if file in found:
            problems.append(f"{path}: line {number} repeats {file}")
        if not math.isfinite(value):
            problems.append(f"{path}: line {number}: {row[1]} is no finite number")
        if kind == "decision_result" and value not in (0, 1):
            problems.append(
                f"{path}: line {number}: decision {row[1]}; must be 0 (normal) or 1 (anomalous)"
            )
        found[file] = value
    if not found and len(problems) == before:
        problems.append(f"{path}: empty")
    if kind == "anomaly_score" and len(found) > 1 and len(set(found.values())) == 1:
        problems.append(f"{path}: all {len(found)} scores are equal, which ranks nothing")
    return found


def _clips(path, match, scores, decisions, labels, problems) -> list[ScoredClip]:
    """Returns the rows of one score file with what is known about their clips."""
    machine, section = match["machine"], match["id"] or match["section"]
    if decisions is not None and set(decisions) != set(scores):
        odd = sorted(set(decisions) ^ set(scores))
        problems.append(f"{path}: its clips are not those of the decision file, {_some(odd)}")
    clips, here = [], set()
    for file, score in scores.items():
        try:
            in_name, domain, label = labels_from_name(file, machine)
        except InputError:
            problems.append(f"{path}: {file} is no DCASE file name")
            continue
        if file.startswith(("section_", "id_", "normal_id_", "anomaly_id_")) and in_name != section:
            problems.append(f"{path}: {file} is a clip of section {in_name}")
        if labels is not None and (machine, file) in labels:
            domain, label = labels[machine, file]
        domain = match["domain"] if domain == "unknown" and match["domain"] else domain
        if match["domain"] not in (None, domain):
            problems.append(f"{path}: {file} is a clip of the {domain} domain")
        here.add(label)
        decided = None if decisions is None else decisions.get(file)
        # _read_values has already reported any other value.
        decision = int(decided) if decided in (0, 1) else None
        clips.append(ScoredClip(machine, section, file, domain, label, score, decision))
    if here and -1 not in here and len(here) == 1:
        problems.append(
            f"{path}: only {'anomalous' if 1 in here else 'normal'} clips; a score needs both"
        )
    return clips


def _missing(folder, clips: Sequence[ScoredClip], machines, expected) -> list[str]:
    found = {(clip.machine, clip.section, domain) for clip in clips for domain in ("", clip.domain)}
    wanted = {(machine, *place) for machine, places in (expected or {}).items() for place in places}
    wanted = {place for place in wanted if not machines or place[0] in machines}
    said = [
        f"{folder}: no anomaly scores of {machine} section {section}"
        + (domain and f", {domain} domain")
        for machine, section, domain in sorted(wanted - found)
    ]
    known = {machine for machine, *_ in found | wanted}
    said += [
        f"{folder}: no files of machine {machine}" for machine in sorted(set(machines) - known)
    ]
    if not found and not said:
        said = [
            f"{folder}: no anomaly_score_<machine>_section_<SS>_test.csv (2020: "
            "anomaly_score_<machine>_id_<ID>.csv)"
        ]
    return said


def _incomplete(folder, paths, complete) -> list[str]:
    """Returns problems for missing decision files, if others exist or all are required."""
    scores = [name for name, (_, match) in paths.items() if match["kind"] == "anomaly_score"]
    # A submission with scores only, and no decision files at all, is valid unless `complete`.
    if not complete and len(scores) == len(paths):
        return []
    names = [name.replace("anomaly_score", "decision_result", 1) for name in scores]
    return [f"{folder / name}: missing" for name in names if name not in paths]


def _across_files(folder, clips: Iterable[ScoredClip], labels: Labels | None) -> list[str]:
    """Returns problems for clips in two files, without label, or without score."""
    seen: dict[tuple[str, str], str] = {}
    problems, told = [], set()
    for clip in clips:
        told |= {(clip.machine, clip.file)} if clip.label >= 0 else set()
        if (clip.machine, clip.file) in seen:
            problems.append(f"{folder}: {clip.machine}/{clip.file} is scored in two files")
        seen[clip.machine, clip.file] = clip.section
    if labels is None:
        return problems
    scored = {(machine, section) for (machine, _), section in seen.items()}
    for machine, section in sorted(scored):
        ours = {file for (m, file), s in seen.items() if (m, s) == (machine, section)}
        known = {
            f for m, f in labels if m == machine and labels_from_name(f, machine)[0] == section
        }
        if lacking := sorted(known - ours):
            problems.append(f"{folder}: {machine} section {section}: no score for {_some(lacking)}")
        # A clip whose own name states its label needs no entry in the ground truth.
        if extra := sorted(file for file in ours - known if (machine, file) not in told):
            problems.append(
                f"{folder}: {machine} section {section}: the ground truth does not know "
                f"{_some(extra)}"
            )
    return problems


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _write_csv(path: Path, rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_file(path) as file:
        # File names need not be valid UTF-8.
        file.write(text.getvalue().encode(errors="backslashreplace"))
