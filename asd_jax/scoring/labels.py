"""Reads labels of clips from file names, baseline lists and evaluator folders."""

import csv
import re
from pathlib import Path

from asd_jax.data.clips import parse_clip
from asd_jax.data.dcase import edition
from asd_jax.data.ground_truth import find_ground_truth, read_ground_truth
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names

Labels = dict[tuple[str, str], tuple[str, int]]  # (machine, file name) -> (domain, label)
_EVALUATOR = re.compile(
    r"ground_truth_(?P<machine>.+?)_section_\d+(?:_(?P<domain>source|target))?_test\.csv"
)


def labels_from_name(file: str, machine: str) -> tuple[str, str, int]:
    """Returns (section, domain, label) from a file name; "unknown" and -1 if missing."""
    clip = parse_clip(file, machine, "test")
    return clip.section, clip.domain, clip.label


def read_labels(ground_truth: str | Path, year: int) -> Labels:
    """Returns {(machine, file name): (domain, label)} from the ground truth of an evaluation set.

    File names are those under which the clips were released.

    Args:
        ground_truth: `eval_data_list_<year>.csv` of the baselines or a folder that holds it, or the
            folder of an official evaluator that contains ground_truth_data/ and (2022 and later)
            ground_truth_domain/.
        year: the year. In 2022 the label files of ToyCar and ToyTrain contradict the evaluator's
            own attribute files; the attribute files are used.

    Raises:
        InputError: there is no ground truth, its rows are unreadable, or labels have no domain.
    """
    root = Path(ground_truth)
    if not (root / "ground_truth_data").is_dir():
        return _from_names(find_ground_truth(root, root))
    labels: Labels = {}
    for path in sorted((root / "ground_truth_data").glob("*.csv")):
        if not (match := _EVALUATOR.fullmatch(path.name)):
            continue
        machine = match["machine"]
        # The labels of these machines come from the attribute files below.
        if machine in edition(year).mislabelled:
            continue
        found = _rows(path)
        domains = dict.fromkeys(found, match["domain"])
        if not match["domain"]:
            other = _rows(path.parent.parent / "ground_truth_domain" / path.name)
            domains = {name: ("source", "target")[number] for name, number in other.items()}
        if set(domains) != set(found):
            raise InputError(f"{path}: its clips are not those of ground_truth_domain/{path.name}")
        labels |= {(machine, name): (domains[name], label) for name, label in found.items()}
    for machine in edition(year).mislabelled:
        files = sorted((root / "ground_truth_attributes" / machine).glob("*attributes_*.csv"))
        labels |= _from_names(read_ground_truth(files))
    return labels


def _from_names(names: dict[tuple[str, str], str]) -> Labels:
    return {
        (machine, released): labels_from_name(name, machine)[1:]
        for (machine, released), name in names.items()
    }


def _rows(path: Path) -> dict[str, int]:
    """Returns {file name: 0 or 1} from an evaluator's csv with rows `<file name>,<0 or 1>`."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(row)]
            found = {row[0]: ("0", "1").index(row[1].strip()) for row in rows}
            check_names("file", found)
            return found
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: not readable as ground truth, rows <file name>,<0 or 1> ({error})"
        ) from error
