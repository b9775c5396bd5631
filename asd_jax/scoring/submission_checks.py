"""Checks the files of a submission together: sections, runs, decisions and clips."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asd_jax.scoring.labels import Labels, labels_from_name
from asd_jax.scoring.problems import Problems
from asd_jax.scoring.score_files import ScoredClip, ScoreFile


def check_runs(folder: Path, files: Iterable[ScoreFile], problems: Problems) -> None:
    """Reports sections of which several runs lie in the folder."""
    runs: dict[tuple, list[str]] = {}
    for file in files:
        if file.kind == "anomaly_score":
            runs.setdefault((file.machine, file.section, file.domain), []).append(file.run)
    for (machine, section, _), names in sorted(runs.items(), key=str):
        if len(names) > 1:
            message = (
                f"{len(names)} score files of {machine} section {section} ({', '.join(names)})"
            )
            problems.add("runs", machine, f"{folder}: {message}; give each run a folder")


def check_sections(
    folder: Path,
    clips: Sequence[ScoredClip],
    machines: Sequence[str],
    expected: Mapping[str, Sequence[tuple[str, str]]] | None,
    problems: Problems,
    strict: bool,
) -> None:
    """Reports sections that are expected and missing, and those that are not expected."""
    # A missing section is reported once, not as an empty folder, too.
    before = len(problems)
    # With "" beside its own domain, a clip meets expectations with and without domains.
    found = {(clip.machine, clip.section, domain) for clip in clips for domain in ("", clip.domain)}
    wanted = {(machine, *place) for machine, places in (expected or {}).items() for place in places}
    wanted = {place for place in wanted if not machines or place[0] in machines}
    for machine, section, domain in sorted(wanted - found):
        message = f"no anomaly scores of {machine} section {section}"
        message += f", {domain} domain" if domain else ""
        problems.add("missing", machine, f"{folder}: {message}")
    # A machine that was asked for and is nowhere is a mistyped name.
    known = {machine for machine, *_ in found | wanted}
    for machine in sorted(set(machines) - known):
        problems.add("machine", machine, f"{folder}: no files of machine {machine}")
    if not found and len(problems) == before:
        message = "no anomaly_score_<machine>_section_<SS>_test.csv (2020: "
        problems.add("nothing", folder, f"{folder}: {message}anomaly_score_<machine>_id_<ID>.csv)")
    places = {place[:2] for place in wanted}
    extra = sorted({place[:2] for place in found} - places) if strict and expected else []
    for machine, section in () if machines else extra:
        message = f"{machine} section {section} is not of the evaluation set; leave its files out"
        problems.add("extra", machine, f"{folder}: {message}, or choose --machines")


def check_decisions(found: Mapping[Path, ScoreFile], complete: bool, problems: Problems) -> None:
    """Reports missing decision files, if others exist or all are required."""
    scores = [file for file in found.values() if file.kind == "anomaly_score"]
    # A submission with scores only, and no decision files at all, is valid unless `complete`.
    if not complete and len(scores) == len(found):
        return
    for file in scores:
        if file.partner not in found:
            problems.add("no decisions", file.path, f"{file.partner}: missing")


def check_clips(
    folder: Path, clips: Iterable[ScoredClip], labels: Labels | None, problems: Problems
) -> None:
    """Reports clips in two files, without label, or without score."""
    places: dict[tuple[str, str], dict[str, tuple[str, int]]] = {}
    seen = set()
    for clip in clips:
        if (clip.machine, clip.file) in seen:
            message = f"{clip.machine}/{clip.file} is scored in two files"
            problems.add("two files", clip.machine, f"{folder}: {message}")
        seen.add((clip.machine, clip.file))
        here = places.setdefault((clip.machine, clip.section), {})
        here[clip.file] = (clip.domain, clip.label)
    known: dict[tuple[str, str], dict[str, tuple[str, int]]] = {}
    for (machine, file), stated in (labels or {}).items():
        known.setdefault((machine, labels_from_name(file, machine)[0]), {})[file] = stated
    for (machine, section), ours in sorted(places.items()):
        # What the ground truth does not know at all is unlabelled, which is no mistake.
        if (machine, section) in known:
            _check_against(
                f"{folder}: {machine} section {section}", ours, known[machine, section], problems
            )


def _check_against(
    where: str,
    ours: Mapping[str, tuple[str, int]],
    known: Mapping[str, tuple[str, int]],
    problems: Problems,
) -> None:
    """Reports clips of the ground truth without a score, and clips that it does not know.

    Clips that carry their label in their names are counted, because their released names are not
    known: as many of each domain and label as the ground truth has left.
    """
    own = Counter(stated for file, stated in ours.items() if file not in known and stated[1] >= 0)
    lacking = sorted(set(known) - set(ours))
    if own:
        # Subtracting counters drops what is not positive: only what is still missing remains.
        open_ = Counter(known[file] for file in lacking) - own
        lacking = [f"{n} {domain} {('normal', 'anomaly')[y]}" for (domain, y), n in open_.items()]
    if lacking:
        problems.add("lacking", where, f"{where}: no score for {some(lacking)}")
    if extra := sorted(file for file in set(ours) - set(known) if ours[file][1] < 0):
        problems.add("extra clips", where, f"{where}: the ground truth does not know {some(extra)}")


def some(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
