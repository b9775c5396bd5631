"""Writes, reads and checks DCASE submission files.

A submission holds the anomaly scores and the decisions for every machine and section.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.names import check_name
from asd_jax.scoring.labels import Labels, labels_from_name
from asd_jax.scoring.problems import Problems
from asd_jax.scoring.score_files import ScoredClip, ScoreFile, score_files
from asd_jax.scoring.submission_checks import (
    check_clips,
    check_decisions,
    check_runs,
    check_sections,
    some,
)


def write_submission(
    folder: str | Path, clips: Iterable[ScoredClip], *, year: int = 2022
) -> list[Path]:
    """Writes the anomaly_score_ and decision_result_ csv files of scored clips.

    There is a pair of files for each machine and section; their paths are returned. Rows are `<file
    name>,<value>`, sorted by file name; scores are written with enough digits to be read back
    exactly. File names follow the year: they contain the machine ID in 2020, and the section and
    the domain in 2021.

    Args:
        folder: where the files are written.
        clips: the clips, all with a decision.
        year: the year of the challenge.
    """
    files: dict[str, list[ScoredClip]] = {}
    for clip in clips:
        files.setdefault(_end_of_name(clip, year), []).append(clip)
    written = []
    for end, own in sorted(files.items()):
        own.sort()
        for kind, rows in (
            ("anomaly_score", [(clip.file, repr(float(clip.score))) for clip in own]),
            ("decision_result", [(clip.file, repr(clip.decision)) for clip in own]),
        ):
            path = Path(folder) / f"{kind}_{end}.csv"
            _write_csv(path, rows)
            written.append(path)
    return written


def _end_of_name(clip: ScoredClip, year: int) -> str:
    """Returns how the name of the file of a clip ends."""
    if year == 2020:
        return f"{clip.machine}_id_{clip.section}"
    if year == 2021:
        return f"{clip.machine}_section_{clip.section}_{clip.domain}_test"
    return f"{clip.machine}_section_{clip.section}_test"


def submission_files(folder: Path) -> set[Path]:
    """Returns the paths of the score and decision files in a folder that a submission may hold."""
    if not folder.is_dir():
        return set()
    return {file.path for file in score_files(folder) if file.submitted}


def read_submission(
    folder: str | Path,
    *,
    machines: Sequence[str] = (),
    labels: Labels | None = None,
    expected: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    complete: bool = False,
    strict: bool = False,
) -> list[ScoredClip]:
    """Returns every scored clip in a submission folder, sorted by machine, section and file name.

    Names of runs of the public baseline are accepted too, and clips named without `.wav`.

    Args:
        folder: the folder; files with other names are ignored. A run's folder is read as its
            scores/.
        machines: the machines to read; empty reads all that are found.
        labels: domain and label of each clip; None takes them from the file names. A machine that
            neither knows has unlabelled clips.
        expected: {machine: (section, domain) pairs} that must be present; the domain is "" if the
            files are not split by domain.
        complete: whether every section needs a decision file; otherwise either all sections have
            one or none has.
        strict: whether to reject what can be scored but not be submitted: equal scores of a whole
            section, clips named without `.wav`, file names of the baseline's runs, and files of
            machines that are not expected.

    Raises:
        InputError: the folder has problems; the message lists all of them.
    """
    folder = _folder_of_scores(Path(folder))
    problems = Problems()
    found = {
        file.path: file for file in score_files(folder) if not machines or file.machine in machines
    }
    values = {path: _read_values(file, problems, strict) for path, file in found.items()}
    clips = []
    for path, file in found.items():
        if file.kind == "anomaly_score":
            clips += _clips(
                file=file,
                scores=values[path],
                decisions=values.get(file.partner),
                labels=labels,
                problems=problems,
                strict=strict,
            )
        elif file.partner not in found:
            problems.add("no scores", path, f"{path}: no anomaly scores of this section beside it")
        if strict and not file.submitted:
            problems.add("name", path, f"{path}: not the name of a submission's file")
    check_runs(folder, found.values(), problems)
    check_sections(
        folder=folder,
        clips=clips,
        machines=machines,
        expected=expected,
        problems=problems,
        strict=strict,
    )
    check_decisions(found, complete, problems)
    check_clips(folder, clips, labels, problems)
    if problems:
        lines = "\n  ".join(problems.lines())
        raise InputError(f"{folder}: {len(problems)} problem(s)\n  {lines}")
    return sorted(clips)


def _folder_of_scores(folder: Path) -> Path:
    """Returns the folder, or its scores/ if only that holds score files, as in a run's workdir."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of anomaly_score_*.csv files")
    below = folder / "scores"
    return below if not score_files(folder) and below.is_dir() else folder


def _read_values(file: ScoreFile, problems: Problems, strict: bool) -> dict[str, float]:
    """Returns {file name: value} of one csv file and appends its problems to `problems`."""
    path = file.path
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.add("csv", path, f"{path}: not readable as UTF-8 csv ({error})")
        return {}
    found: dict[str, float] = {}
    before = len(problems)
    for number, row in enumerate(rows, start=1):
        try:
            name = row[0]
            value = float(row[1])
            # A byte order mark would become part of the first file name.
            if len(row) > 2 or not name or name.startswith("\ufeff"):
                raise ValueError
            check_name("path", name)
        except (IndexError, ValueError):
            message = f"line {number} is {','.join(row)!r}; expected <file name>,<value>, no header"
            problems.add("row", path, f"{path}: {message}")
            continue
        if name in found:
            problems.add("repeated", path, f"{path}: line {number} repeats {name}")
        if not math.isfinite(value):
            problems.add("finite", path, f"{path}: line {number}: {row[1]} is no finite number")
        if file.kind == "decision_result" and value not in (0, 1):
            message = f"line {number}: decision {row[1]}; must be 0 (normal) or 1 (anomalous)"
            problems.add(f"decision {value}", path, f"{path}: {message}")
        found[name] = value
    # A file whose every row is bad has been reported row by row.
    if not found and len(problems) == before:
        problems.add("empty", path, f"{path}: empty")
    if strict and file.kind == "anomaly_score" and len(found) > 1 and len(set(found.values())) == 1:
        message = f"all {len(found)} scores are equal, which ranks nothing"
        problems.add("equal", path, f"{path}: {message}")
    return found


def _clips(
    file: ScoreFile,
    scores: dict[str, float],
    decisions: dict[str, float] | None,
    labels: Labels | None,
    problems: Problems,
    strict: bool,
) -> list[ScoredClip]:
    """Returns the rows of one score file with what is known about their clips."""
    path = file.path
    if decisions is not None and set(decisions) != set(scores):
        odd = sorted(set(decisions) ^ set(scores))
        message = f"its clips are not those of the decision file, {some(odd)}"
        problems.add("other clips", path, f"{path}: {message}")
    clips = []
    for written, score in scores.items():
        name = written if Path(written).suffix else f"{written}.wav"
        if strict and name != written:
            problems.add("ending", path, f"{path}: {written} lacks the clip's ending .wav")
        known = _domain_and_label(file, name, labels, problems)
        if known is None:
            continue
        decided = None if decisions is None else decisions.get(written)
        clips.append(
            ScoredClip(
                machine=file.machine,
                section=file.section,
                file=name,
                domain=known[0],
                label=known[1],
                score=score,
                # _read_values has already reported any other value.
                decision=int(decided) if decided in (0, 1) else None,
            )
        )
    found = {clip.label for clip in clips}
    if found in ({0}, {1}):
        kind = "anomalous" if 1 in found else "normal"
        problems.add("one label", path, f"{path}: only {kind} clips; a score needs both")
    return clips


def _domain_and_label(
    file: ScoreFile, name: str, labels: Labels | None, problems: Problems
) -> tuple[str, int] | None:
    """Returns what is known of a clip; None if its name is not that of a DCASE clip."""
    path = file.path
    try:
        in_name, domain, label = labels_from_name(name, file.machine)
    except InputError:
        problems.add("clip", path, f"{path}: {name} is no DCASE file name")
        return None
    # Only names of the challenge's grammars state a section.
    named = name.startswith(("section_", "id_", "normal_id_", "anomaly_id_"))
    if named and in_name != file.section:
        problems.add("section", path, f"{path}: {name} is a clip of section {in_name}")
    if labels is not None and (file.machine, name) in labels:
        domain, label = labels[file.machine, name]
    domain = file.domain if domain == "unknown" and file.domain else domain
    if file.domain not in (None, domain):
        problems.add("domain", path, f"{path}: {name} is a clip of the {domain} domain")
    return domain, label


def _write_csv(path: Path, rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    # The default of csv is CR LF.
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_file(path) as file:
        # File names need not be valid UTF-8.
        file.write(text.getvalue().encode(errors="backslashreplace"))
