"""Computes the content of results.json: the official score and the values of every machine.

The same scores always give the same bytes.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.coverage import scores_by_set
from asd_jax.scoring.official_score import check_year, decision_values, section_values, summary
from asd_jax.scoring.options import Scoring

UNLABELLED = "test clips carry no label"  # note on a section


def results(machines: Mapping[str, MachineScores], scoring: Scoring, year: int) -> dict:
    """Returns the content of results.json; values are fractions, and there are no times or paths.

    Sections whose test clips have labels get the AUC columns of the year, precision, recall and F1,
    and count towards the official score; a note names the other sections. If a column of a labelled
    section cannot be computed (only one domain, no anomalies), it is left out, the official score
    is null and a note gives the reason. "by_set" holds the official scores of the development and
    the evaluation machines where a run has both.

    Args:
        machines: {machine: its scores}.
        scoring: the options used; they are recorded in the result.
        year: the year whose rule defines the official score.

    Raises:
        InputError: the year is unknown.
    """
    check_year(year)
    notes = [f"{machine} {note}" for machine, scores in machines.items() for note in scores.notes]
    found = {
        "official_score": None,
        "year": year,
        "scoring": scoring.recorded(),
        "machines": {},
    }
    known = {}
    missing = []
    labelled, unlabelled = _sections(machines)
    remarks = [f"{machine} section {section}: {UNLABELLED}" for machine, section in unlabelled]
    for machine, section in labelled:
        of = machines[machine]
        name = f"{machine} section {section}"
        here = of.clips.section == section
        domain = of.clips.domain[here]
        label = of.clips.label[here]
        try:
            values = section_values(
                name=name,
                domain=domain,
                label=label,
                score=of.score[here],
                year=year,
                lacking=missing,
            )
        except InputError as error:
            # One section that cannot be scored must not cost the values of the others.
            missing.append(str(error))
            continue
        # A section may lack every column, e.g. when all its clips are normal.
        if values:
            known.setdefault(machine, {})[section] = values
            found["machines"].setdefault(machine, {})[section] = values | _decisions(
                of, section, year
            )
    if known:
        official = summary(known, year)
        found |= {
            "arithmetic_mean": official.arithmetic_mean,
            "harmonic_mean": official.harmonic_mean,
        }
        found["official_score"] = None if missing else official.official_score
        # One score over both sets means nothing to the challenge.
        if by_set := scores_by_set(known, year):
            found["by_set"] = by_set
        notes += [f"{reason}; the official score leaves it out" for reason in remarks]
    else:
        # Without any labelled section, that is why there is no score.
        missing += remarks
    return found | {"notes": notes + [f"no official score: {reason}" for reason in missing]}


def over_seeds(runs: Sequence[Mapping]) -> dict:
    """Returns the mean of results.json over seeds, with standard deviations (n - 1)."""
    deviation = {
        key: _combined(statistics.stdev, [run[key] for run in runs])
        for key in ("official_score", "machines")
    }
    found = _combined(statistics.fmean, list(runs)) | {"standard_deviation": deviation}
    # The list is the union over seeds, so the number is that of the union too.
    return found | ({"skipped_clips": len(found["skipped"])} if "skipped" in found else {})


def _combined(what: Callable[[list[float]], float], values: list):
    """Returns the structure of the first value with every float combined over all values by `what`.

    A list, of notes or of skipped clips, becomes the union of the lists.
    """
    if isinstance(values[0], Mapping):
        return {key: _combined(what, [value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], list):
        every = [item for value in values for item in value]
        return [item for n, item in enumerate(every) if item not in every[:n]]
    return what(values) if all(isinstance(value, float) for value in values) else values[0]


def _sections(machines: Mapping[str, MachineScores]) -> tuple[list[tuple[str, str]], ...]:
    """Returns the (machine, section) pairs whose test clips have labels, and the others."""
    labelled = []
    unlabelled = []
    for machine, of in machines.items():
        for section in sorted(set(of.clips.section.tolist())):
            known = (of.clips.label[of.clips.section == section] >= 0).all()
            (labelled if known else unlabelled).append((machine, section))
    return labelled, unlabelled


def _decisions(scores: MachineScores, section: str, year: int) -> dict[str, float | None]:
    here = scores.clips.section == section
    # There were no domains in 2020.
    domain = scores.clips.domain[here] if year > 2020 else np.full(here.sum(), "")
    # Without any normal scores the threshold is infinite, which JSON cannot hold.
    cut = float(scores.threshold[section])
    values = decision_values(domain, scores.clips.label[here], scores.decision[here])
    return {**values, "threshold": cut if np.isfinite(cut) else None}
