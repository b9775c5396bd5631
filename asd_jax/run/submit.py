"""Makes the zip of a challenge entry from finished runs."""

import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asd_jax.data.dcase import Edition, edition
from asd_jax.run.system_description import described, unfilled
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import atomic_file, check_output, open_regular
from asd_jax.runtime.log import print_line
from asd_jax.scoring.labels import Labels, labels_from_name, read_labels
from asd_jax.scoring.score_files import ScoredClip
from asd_jax.scoring.submission import read_submission

MOST_SYSTEMS = 4
# A list of authors takes kilobytes; the limit keeps a wrong file from filling the memory.
LARGEST_YAML = 1 << 20  # bytes
_KINDS = "anomaly_score", "decision_result"
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9-]*_[A-Za-z0-9-]+")
# The date of every entry, so that the same files give the same zip: the first that zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def submit(
    workdirs: Sequence[Path],
    year: int,
    *,
    label: str,
    authors: str | None = None,
    report: str | None = None,
    ground_truth: str | None = None,
    output: str | None = None,
) -> Path:
    """Writes the zip of an entry and returns its path.

    Args:
        workdirs: finished runs, or folders of score files, one for each system.
        year: year of the challenge.
        label: last name of the corresponding author, "_", the institute.
        authors: yaml file whose fields replace those of the meta files.
        report: the technical report, a pdf file.
        ground_truth: labels of the evaluation set of a past year; then every clip of it must have a
            score.
        output: the zip; default: submission.zip in the first workdir.

    Raises:
        InputError: a run has no scores, or they are not what the year's evaluator accepts; the
            message lists all problems, and nothing is written.
    """
    of = edition(year)
    given = _read_yaml(authors) if authors else {}
    labels = read_labels(ground_truth, year) if ground_truth else None
    if not 1 <= len(workdirs) <= MOST_SYSTEMS:
        raise InputError(f"--workdir: {len(workdirs)} systems; an entry has 1 to {MOST_SYSTEMS}")
    if not _LABEL.fullmatch(label):
        raise InputError(
            f"--label={label}: expected Lastname_Institute, letters, digits and hyphens"
        )
    for workdir in workdirs:
        if not workdir.is_dir():
            raise InputError(f"--workdir={workdir}: no such folder")
    path = Path(output) if output else workdirs[0] / "submission.zip"
    check_output(path)
    # Nothing is written beside the runs until everything was checked. A temporary file that cannot
    # be removed is no reason to refuse an entry that is written.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        task = Path(folder) / "task2"
        for number, workdir in enumerate(workdirs, 1):
            name = f"{label}_task2_{number}"
            _system(workdir, task / name, of, given, labels)
        if report:
            _copy_report(Path(report), task / f"{label}_task2.technical_report.pdf")
        _write_zip(path, Path(folder))
    print_line(f"wrote {path}")
    return path


def _system(
    workdir: Path, folder: Path, of: Edition, given: Mapping, labels: Labels | None
) -> None:
    """Writes one system's files into its folder, which has its label, and checks them there."""
    folder.mkdir(parents=True)
    name = folder.name
    run = Run(workdir)
    scores = run.scores if run.scores.is_dir() else workdir
    left = _copy_scores(scores, folder, of)
    # The copies are read, as the evaluator will; the message names the folder of the run.
    try:
        clips = read_submission(
            folder,
            labels=labels,
            expected=of.evaluation_files,
            complete=of.year > 2020,
            strict=True,
        )
    except InputError as error:
        raise InputError(str(error).replace(str(folder), str(scores))) from error
    files = [clip.file for clip in clips]
    if renamed := [file for file in files if labels_from_name(file, "")[2] >= 0]:
        raise InputError(
            f"{scores}: {len(renamed)} file names contain the label, as {renamed[0]}: the "
            "organisers know the clips by the names under which they were released"
        )
    # The authors' fields win over those that were derived from the run.
    description = merged(described(workdir, name, of), given)
    # The folder has this label too, so a file must not change it.
    description["submission"]["label"] = name
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True, width=100)
    with atomic_file(folder / f"{name}.meta.yaml") as file:
        file.write(text.encode())
    sections = len({clip[:2] for clip in clips})
    print_line(f"{name}: {workdir}; {sections} sections, {len(clips)} clips, nothing wrong")
    for section in _incomplete(clips, of):
        print_line(f"  incomplete: {section}; the evaluator refuses a section that lacks a clip")
    if left:
        print_line(f"  left out, as not of the evaluation set of {of.year}: {left} files")
    for field in unfilled(description):
        print_line(f"  to fill in: {field}")


def _incomplete(clips: Sequence[ScoredClip], of: Edition) -> Iterator[str]:
    """Yields the sections that have another number of clips than the edition's evaluation set."""
    for (machine, section), count in Counter(clip[:2] for clip in clips).items():
        # 0: the edition's sections have no common size.
        if of.clips not in (0, count):
            yield f"{machine} section {section}: {count} clips of {of.clips}"


def _copy_scores(scores: Path, folder: Path, of: Edition) -> int:
    """Copies the files of the evaluation machines' sections, and returns the number of others.

    The copies have the names that the evaluators look for. Some teams leave _test out.
    """
    wanted = set()
    for machine, sections in of.evaluation.items():
        for section in sections:
            wanted |= {f"{machine}_{end}" for end in _ends(section, of)}
    left = 0
    for path in sorted(scores.glob("*.csv")):
        kind = next((kind for kind in _KINDS if path.name.startswith(f"{kind}_")), "")
        named = path.stem.removeprefix(f"{kind}_")
        target = next((name for name in (named, f"{named}_test") if name in wanted), None)
        if kind and target:
            shutil.copyfile(path, folder / f"{kind}_{target}.csv")
        else:
            left += 1
    return left


def _ends(section: str, of: Edition) -> list[str]:
    """Returns how the names of a section's files end in an edition, without .csv."""
    if of.names == "id":
        return [f"id_{section}"]
    domains = of.domains if of.names == "domain folders" else ()
    return [f"section_{section}_{domain}_test" for domain in domains] or [f"section_{section}_test"]


def _copy_report(report: Path, target: Path) -> None:
    with error_context("--report"), open_regular(report) as file:
        # The first bytes show the format; the name may have any ending.
        start = file.read(5)
    if start != b"%PDF-":
        raise InputError(f"--report={report}: not a pdf file")
    shutil.copyfile(report, target)


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            text = file.read(LARGEST_YAML + 1)
        # The first part of a longer file could be valid, and the rest would be lost.
        if len(text) > LARGEST_YAML:
            raise InputError(f"--authors={path}: more than {LARGEST_YAML} bytes; name another file")
        # safe_load makes plain values only; other loaders can be made to run code.
        found = yaml.safe_load(text.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--authors={path}: not a readable yaml file ({reason})") from error
    if not isinstance(found, dict):
        raise InputError(f"--authors={path}: expected fields, e.g. submission: {{authors: [...]}}")
    return found


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the first mapping with the fields of the second put in, section by section."""
    found = dict(ours)
    for key, value in theirs.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def _write_zip(path: Path, folder: Path) -> None:
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(place for place in folder.rglob("*") if place.is_file()):
            name = zipfile.ZipInfo(one.relative_to(folder).as_posix(), _DATE)
            name.compress_type = zipfile.ZIP_DEFLATED
            # Without it, zip files made on Unix unpack to files that nobody may read.
            name.external_attr = 0o644 << 16
            archive.writestr(name, one.read_bytes())
