"""results.json: the official score and every machine's values, the same bytes for the same scores."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asd_jax.errors import InputError
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.official_score import check_year, decision_values, official_score
from asd_jax.scoring.options import Scoring


def results(machines: Mapping[str, MachineScores], scoring: Scoring, year: int) -> dict:
    """{machine: its scores} -> the contract's results.json: fractions, no time, no path.

    Sections whose test clips carry labels get the year's AUC columns, precision, recall and F1. Where a section cannot
    be scored (labels missing, one domain only, no anomalies) the official score is null and a note says why.
    """
    check_year(year)
    notes = [f"{machine} {note}" for machine, scores in machines.items() for note in scores.notes]
    found = {"official_score": None, "year": year, "scoring": dataclasses.asdict(scoring), "machines": {}}
    scored, missing = [], []
    for machine, section in _sections(machines):
        rows = _rows(machines[machine], machine, section)
        try:
            if any(label < 0 for _, _, _, label, _ in rows):
                raise InputError(f"{machine} section {section}: test clips carry no label")
            values = official_score(rows, year).machines[machine][section]
        except InputError as error:
            missing.append(str(error))
            continue
        scored += rows
        values = values | _decisions(machines[machine], section, year)
        found["machines"].setdefault(machine, {})[section] = values
    if scored:
        official = official_score(scored, year)
        found |= {"arithmetic_mean": official.arithmetic_mean, "harmonic_mean": official.harmonic_mean}
        found["official_score"] = None if missing else official.official_score
    return found | {"notes": notes + [f"no official score: {reason}" for reason in missing]}


def over_seeds(runs: Sequence[Mapping]) -> dict:
    """results.json of several seeds -> one with the means, and their standard deviation (n - 1) beside them."""
    deviation = {key: _combined(statistics.stdev, [run[key] for run in runs]) for key in ("official_score", "machines")}
    return _combined(statistics.fmean, list(runs)) | {"standard_deviation": deviation}


def _combined(what: Callable[[list[float]], float], values: list):
    """The structure of the first of `values`, every float replaced by `what` of all values' floats there."""
    if isinstance(values[0], Mapping):
        return {key: _combined(what, [value[key] for value in values]) for key in values[0]}
    return what(values) if all(isinstance(value, float) for value in values) else values[0]


def _sections(machines: Mapping[str, MachineScores]) -> list[tuple[str, str]]:
    return [(m, section) for m, of in machines.items() for section in sorted(set(of.clips.section.tolist()))]


def _rows(of: MachineScores, machine: str, section: str) -> list[tuple[str, str, str, int, float]]:
    here = of.clips.section == section
    columns = (of.clips.domain[here].tolist(), of.clips.label[here].tolist(), of.score[here].tolist())
    return [(machine, section, *clip) for clip in zip(*columns, strict=True)]


def _decisions(scores: MachineScores, section: str, year: int) -> dict[str, float | None]:
    here = scores.clips.section == section
    domain = scores.clips.domain[here] if year > 2020 else np.full(here.sum(), "")  # 2020 knows no domains
    cut = float(scores.threshold[section])
    values = decision_values(domain, scores.clips.label[here], scores.decision[here])
    return {**values, "threshold": cut if np.isfinite(cut) else None}
