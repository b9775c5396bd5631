"""Reads labels of clips from file names, baseline lists and evaluator folders."""

from pathlib import Path

from asd_jax.data.clips import parse_clip
from asd_jax.data.ground_truth import find_ground_truth
from asd_jax.scoring.official_score import check_year

Labels = dict[tuple[str, str], tuple[str, int]]  # (machine, file name) -> (domain, label)


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
        year: the year. In 2022 only the evaluator's folder labels ToyCar and ToyTrain: the list
            contradicts it, and is ignored for these machines.

    Raises:
        InputError: there is no ground truth, its rows are unreadable, or labels have no domain.
    """
    check_year(year)
    return {
        (machine, released): labels_from_name(name, machine)[1:]
        for (machine, released), name in find_ground_truth(ground_truth, ground_truth).items()
    }
