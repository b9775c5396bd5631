"""Parses the names of the csv files that hold anomaly scores and decisions."""

import re
from pathlib import Path
from typing import NamedTuple

# Submissions end in _id_<ID>.csv in 2020, in _section_<SS>_<domain>_test.csv in 2021 and in
# _section_<SS>_test.csv since 2022, where some teams left _test out. Runs of the baseline put the
# edition before the machine and the seed behind: DCASE2024T2ToyCar_section_00_test_seed13711_Eval.
_NAME = re.compile(
    r"(?P<kind>anomaly_score|decision_result)_(?P<edition>DCASE20\d\dT2)?(?P<machine>.+?)"
    r"_(?:id_(?P<id>\d+)|section_(?P<section>\d+)(?:_(?P<domain>source|target))?(?P<test>_test)?)"
    r"(?P<run>_seed\d+.*)?\.csv"
)
OTHER = {"anomaly_score": "decision_result", "decision_result": "anomaly_score"}


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


class ScoreFile(NamedTuple):
    """What the name of a csv file says.

    Attributes:
        path: the file.
        kind: "anomaly_score" or "decision_result".
        machine: the machine's name.
        section: the section, or the machine ID in 2020.
        domain: "source" or "target" in 2021, otherwise None.
        run: what follows the section in a run of the baseline, e.g. "_seed13711_Eval", or "".
        submitted: whether the name is that of a submission.
    """

    path: Path
    kind: str
    machine: str
    section: str
    domain: str | None
    run: str
    submitted: bool

    @property
    def partner(self) -> Path:
        """The path of the decisions beside these scores, or of the scores beside the decisions."""
        return self.path.with_name(self.path.name.replace(self.kind, OTHER[self.kind], 1))


def score_file(path: Path) -> ScoreFile | None:
    """Returns what the file's name says, or None if it is not named like scores or decisions.

    Example:
        score_file(Path("anomaly_score_fan_section_00_test.csv")).machine  # "fan"
    """
    if not (match := _NAME.fullmatch(path.name)):
        return None
    # Names of the baseline's runs can be scored, and are refused in a submission.
    ours = match["edition"] is None and match["run"] is None
    return ScoreFile(
        path=path,
        kind=match["kind"],
        machine=match["machine"],
        section=match["id"] or match["section"],
        domain=match["domain"],
        run=match["run"] or "",
        submitted=ours and (match["id"] is not None or match["test"] is not None),
    )


def score_files(folder: Path) -> list[ScoreFile]:
    """Returns the score and decision files in a folder, sorted by name."""
    named = [score_file(path) for path in sorted(folder.iterdir()) if path.is_file()]
    return [file for file in named if file]
