"""Reads the labels of evaluation clips from the lists that the organisers publish after each
challenge, and from the folders of their evaluators.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from asd_jax.data.dcase import EDITIONS
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names

GroundTruth = dict[tuple[str, str], str]  # (machine, released name) -> labelled name
# an evaluator's folders
LABELS = "ground_truth_data"
DOMAINS = "ground_truth_domain"
_PATTERNS = ("eval_data_list*.csv", "*_attributes_??.csv")
_EVALUATOR = re.compile(
    r"ground_truth_(?P<machine>.+?)_section_(?P<section>\d+)"
    r"(?:_(?P<domain>source|target))?_test\.csv"
)
# The attribute files of the 2022 evaluator and eval_data_list_2022.csv contradict the evaluator's
# labels of these machines on 608 of 1200 clips. Four submissions to the challenge reach an AUC of
# 0.90 to 0.96 on ToyCar with the evaluator's labels and 0.46 to 0.54 with the others.
_MISLABELLED = EDITIONS[2022].mislabelled


def find_ground_truth(root: str | Path, ground_truth: str | Path | None = None) -> GroundTruth:
    """Returns the labelled name of each clip, from the given lists or those in root or
    root/ground_truth.

    Args:
        root: The folder of the recordings.
        ground_truth: A list, a folder of lists, or an evaluator's folder, which contains
            ground_truth_data/ and (2022 and later) ground_truth_domain/. None searches the folder
            of the recordings, where lists may be absent.

    Raises:
        InputError: There is no list at `ground_truth`, or a file is not such a list.
    """
    # The download puts the lists into ground_truth/, below the recordings.
    at = Path(ground_truth or root)
    folders = (at, at / "ground_truth")
    listed = [f for folder in folders for p in _PATTERNS for f in sorted(folder.glob(p))]
    files = [at] if at.is_file() else [f for f in listed if f.is_file()]
    evaluators = [f for folder in folders for f in sorted((folder / LABELS).glob("*.csv"))]
    if ground_truth and not files and not evaluators:
        raise InputError(
            f"{ground_truth}: no ground truth here; expected eval_data_list_<year>.csv, or an "
            f"evaluator's folder with {LABELS}/"
        )
    return read_ground_truth(files) | read_evaluator(evaluators)


def read_ground_truth(files: Sequence[Path]) -> GroundTruth:
    """Returns {(machine, released name): labelled name} from ground-truth files.

    There are two formats: lists with the name of a machine on a line and
    `released,labelled[,label]` lines below it, and the attribute files of the 2022 evaluator, with
    the columns file_name and file_name_with_attributes. What both say of ToyCar and ToyTrain in
    2022 is wrong and ignored: their labels are in the evaluator's ground_truth_data/. A name
    without an ending, as in RMIS' list of 2025, is that of a wav file.

    Raises:
        InputError: A file has neither format.
    """
    labelled = {}
    for path in files:
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not readable as a ground-truth list ({error})") from error
        found = _attribute_rows(path, rows) if "attributes" in path.name else _list_rows(path, rows)
        check_names("machine", (machine for machine, _ in found), at=str(path))
        check_names("file", (released for _, released in found), at=str(path))
        check_names("file", found.values(), at=str(path))
        labelled |= found
    return labelled


def read_evaluator(files: Sequence[Path]) -> GroundTruth:
    """Returns {(machine, released name): labelled name} from the files of ground_truth_data/.

    The domain is in the file's name (2021) or in the file of the same name in ground_truth_domain/.
    The evaluators know no attributes, so the labelled names have none.

    Raises:
        InputError: A file is unreadable, or the two files of a section list different clips.
    """
    labelled = {}
    for path in files:
        if not (match := _EVALUATOR.fullmatch(path.name)):
            continue
        labels = evaluator_rows(path)
        domains = dict.fromkeys(labels, match["domain"])
        if not match["domain"]:
            numbers = evaluator_rows(path.parent.parent / DOMAINS / path.name)
            domains = {name: ("source", "target")[number] for name, number in numbers.items()}
        # The rules since 2021 need the domain of every labelled clip.
        if set(domains) != set(labels):
            raise InputError(f"{path}: its clips are not those of {DOMAINS}/{path.name}")
        for name, label in labels.items():
            # A labelled name of our own, which the one parser of names can read.
            number = Path(name).stem.split("_")[-1]
            labelled[match["machine"], name] = (
                f"section_{match['section']}_{domains[name]}_test_"
                f"{('normal', 'anomaly')[label]}_{number}.wav"
            )
    return labelled


def evaluator_rows(path: Path) -> dict[str, int]:
    """Returns {file name: 0 or 1} from an evaluator's csv with rows `<file name>,<0 or 1>`.

    Raises:
        InputError: The file is missing or has other rows.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(row)]
            # Any other value raises the ValueError that is reported below.
            found = {row[0]: ("0", "1").index(row[1].strip()) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: not readable as ground truth, rows <file name>,<0 or 1> ({error})"
        ) from error
    check_names("file", found, at=str(path))
    return found


def _list_rows(path: Path, rows: list[list[str]]) -> GroundTruth:
    year = re.search(r"20\d\d", path.name)
    wrong = EDITIONS[int(year[0])].mislabelled if year and int(year[0]) in EDITIONS else ()
    machine = None
    labelled = {}
    for number, row in enumerate(rows, start=1):
        # A line with one value is the name of the machine for the lines below it.
        if len([cell for cell in row if cell]) == 1:
            machine = next(cell for cell in row if cell)
            continue
        names = [_with_ending(name) for name in row[:2]]
        if machine is None or not all(name.endswith(".wav") for name in names):
            raise InputError(
                f"{path}: line {number} is {','.join(row)!r}; expected a machine or two file names"
            )
        if machine not in wrong:
            labelled[machine, names[0]] = names[1]
    return labelled


def _with_ending(name: str) -> str:
    """Returns the name with .wav added if it is a DCASE name without an ending."""
    return (
        f"{name}.wav" if re.match(r"(section|id|normal_id|anomaly_id)_\d+_[^.]*$", name) else name
    )


def _attribute_rows(path: Path, rows: list[list[str]]) -> GroundTruth:
    header = rows[0] if rows else []
    if not {"file_name", "file_name_with_attributes"} <= set(header):
        raise InputError(
            f"{path}: expected the columns file_name and file_name_with_attributes, found {header}"
        )
    released = header.index("file_name")
    full = header.index("file_name_with_attributes")
    labelled = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) <= max(released, full) or not (row[released] and row[full]):
            raise InputError(
                f"{path}: line {number} is {','.join(row)!r}; expected a name in each of the "
                "columns file_name and file_name_with_attributes"
            )
        name = Path(row[released])
        # Only test clips need a labelled name.
        if "test" in name.parts and name.parts[0] not in _MISLABELLED:
            labelled[name.parts[0], name.name] = Path(row[full]).name
    return labelled
