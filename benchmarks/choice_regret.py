"""Computes what a choice of candidates costs, on one set and as a mean over several sets."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from asd_jax.reporting.table import print_table, text_table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from benchmarks.provenance import provenance

Scores = Mapping[str, Mapping[str, float]]  # {candidate: {machine: score of its test clips}}
RANDOM = "random choice"
ELSEWHERE = "fixed, best on the other sets"


def regret(scores: Scores, chosen: Mapping[str, str]) -> dict[str, float]:
    """Returns {machine: the best candidate's score minus that of its chosen candidate}."""
    return {
        machine: max(of[machine] for of in scores.values()) - scores[name][machine]
        for machine, name in chosen.items()
    }


def random_regret(scores: Scores) -> dict[str, float]:
    """Returns {machine: the best candidate's score minus the mean of all}."""
    machines = next(iter(scores.values()))
    found = {}
    for machine in machines:
        values = [of[machine] for of in scores.values()]
        found[machine] = max(values) - statistics.fmean(values)
    return found


def best_elsewhere(sets: Mapping[str, Scores], left_out: str) -> str:
    """Returns the candidate with the highest mean over the sets but one, each set counting once.

    Raises:
        InputError: The sets have no candidate in common.
    """
    others = {name: scores for name, scores in sets.items() if name != left_out}
    common = set.intersection(*(set(scores) for scores in sets.values()))
    if not others or not common:
        raise InputError("--join: needs at least two sets with the same candidates")

    def mean(name):
        return statistics.fmean(statistics.fmean(of[name].values()) for of in others.values())

    return max(sorted(common), key=mean)


def join(folders: Sequence[Path], output: Path) -> dict:
    """Prints and writes the regret of every criterion on every set, and returns it.

    Raises:
        InputError: A folder has no result, or the sets have no candidate in common.
    """
    found = {}
    for path in folders:
        if not (path / "automatic_choice.json").is_file():
            raise InputError(f"--join={path}: no automatic_choice.json; finished runs are expected")
        found[path.name] = read_json(path / "automatic_choice.json")
    sets = {name: of["candidates"] for name, of in found.items()}
    regrets: dict[str, dict[str, float]] = {}
    # Runs of other versions may have other criteria.
    criteria = set.intersection(*(set(of["regret"]) for of in found.values()))
    for folder, of in found.items():
        machines = next(iter(of["candidates"].values()))
        fixed = dict.fromkeys(machines, best_elsewhere(sets, folder))
        rows = {
            **{name: of["regret"][name] for name in of["regret"] if name in criteria},
            RANDOM: random_regret(sets[folder]),
            ELSEWHERE: regret(sets[folder], fixed),
        }
        for criterion, values in rows.items():
            regrets.setdefault(criterion, {})[folder] = statistics.fmean(values.values())
    write_json(output / "automatic_choice_regret.json", {"regret": regrets, **provenance()})
    print_table(text_table(*table(regrets, list(sets)), title="regret, points of official score"))
    return regrets


def table(regrets: Scores, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and cells of a table of regrets in points, with their mean."""
    rows = [
        [
            name,
            *(f"{100 * of[c]:.2f}" for c in columns),
            f"{100 * statistics.fmean(of.values()):.2f}",
        ]
        for name, of in regrets.items()
    ]
    return ["criterion", *columns, "mean"], rows
