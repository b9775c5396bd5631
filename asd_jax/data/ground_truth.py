"""Reads the labels of evaluation clips from the lists that the organisers publish after each
challenge.
"""

import csv
import re
from pathlib import Path

from asd_jax.data.dcase import EDITIONS
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names

GroundTruth = dict[tuple[str, str], str]  # (machine, released name) -> labelled name
_PATTERNS = ("eval_data_list*.csv", "*_attributes_??.csv")


def find_ground_truth(root: str | Path, ground_truth: str | Path | None = None) -> GroundTruth:
    """Returns the labelled name of each clip, from the given lists or those in root or
    root/ground_truth.

    Args:
        root: The folder of the recordings.
        ground_truth: A list or a folder of lists. None searches the folder of the recordings, where
            lists may be absent.

    Raises:
        InputError: There is no list at `ground_truth`, or a file is not such a list.
    """
    at = Path(ground_truth or root)
    folders = (at, at / "ground_truth")
    listed = [f for folder in folders for p in _PATTERNS for f in sorted(folder.glob(p))]
    files = [at] if at.is_file() else [f for f in listed if f.is_file()]
    if ground_truth and not files:
        raise InputError(
            f"{ground_truth}: no ground truth here; expected eval_data_list_<year>.csv"
        )
    return read_ground_truth(files)


def read_ground_truth(files: list[Path]) -> GroundTruth:
    """Returns {(machine, released name): labelled name} from ground-truth files.

    There are two formats: lists with the name of a machine on a line and
    `released,labelled[,label]` lines below it, and the attribute files of the 2022 evaluator, with
    the columns file_name and file_name_with_attributes. The rows of ToyCar and ToyTrain in
    eval_data_list_2022.csv contradict the attribute files on 608 of 1200 clips and are ignored.

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


def _list_rows(path: Path, rows: list[list[str]]) -> GroundTruth:
    year = re.search(r"20\d\d", path.name)
    wrong = EDITIONS[int(year[0])].mislabelled if year and int(year[0]) in EDITIONS else ()
    machine, labelled = None, {}
    for number, row in enumerate(rows, start=1):
        # A line with one value is the name of the machine for the lines below it.
        if len([cell for cell in row if cell]) == 1:
            machine = next(cell for cell in row if cell)
        elif machine is None or not all(name.endswith(".wav") for name in row[:2]):
            raise InputError(
                f"{path}: line {number} is {','.join(row)!r}; expected a machine or two file names"
            )
        elif machine not in wrong:
            labelled[machine, row[0]] = row[1]
    return labelled


def _attribute_rows(path: Path, rows: list[list[str]]) -> GroundTruth:
    header = rows[0] if rows else []
    if not {"file_name", "file_name_with_attributes"} <= set(header):
        raise InputError(
            f"{path}: expected the columns file_name and file_name_with_attributes, found {header}"
        )
    released, full = header.index("file_name"), header.index("file_name_with_attributes")
    labelled = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) <= max(released, full) or not (row[released] and row[full]):
            raise InputError(
                f"{path}: line {number} is {','.join(row)!r}; expected a name in each of the "
                "columns file_name and file_name_with_attributes"
            )
        name = Path(row[released])
        # Only test clips need a labelled name.
        if "test" in name.parts:
            labelled[name.parts[0], name.name] = Path(row[full]).name
    return labelled
