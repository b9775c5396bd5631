"""results.json: the official score and every machine's values, the same bytes for the same scores."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.official_score import check_year, decision_values, official_score
from asd_jax.scoring.options import Scoring


def results(machines: Mapping[str, MachineScores], scoring: Scoring, year: int) -> dict:
    """{machine: its scores} -> the contract's results.json: fractions, no time, no path.

    Sections whose test clips carry labels get the year's AUC columns, precision, recall and F1; where any test clip
    lacks its label the official score is null and a note says so.
    """
    check_year(year)
    notes = [f"{machine} {note}" for machine, scores in machines.items() for note in scores.notes]
    labelled = {m: scores for m, scores in machines.items() if (scores.clips.label >= 0).all()}
    found = {"official_score": None, "year": year, "scoring": dataclasses.asdict(scoring), "machines": {}}
    if labelled:
        official = official_score(
            (
                (machine, section, domain, int(label), float(score))
                for machine, of in labelled.items()
                for section, domain, label, score in zip(
                    of.clips.section, of.clips.domain, of.clips.label, of.score, strict=True
                )
            ),
            year,
        )
        found |= {"arithmetic_mean": official.arithmetic_mean, "harmonic_mean": official.harmonic_mean}
        for machine, sections in official.machines.items():
            found["machines"][machine] = {
                section: values | _decisions(labelled[machine], section) for section, values in sections.items()
            }
        if len(labelled) == len(machines):
            found["official_score"] = official.official_score
    if unlabelled := sorted(set(machines) - set(labelled)):
        notes.append(f"no official score: test clips of {', '.join(unlabelled)} carry no label")
    return found | {"notes": notes}


def _decisions(scores: MachineScores, section: str) -> dict[str, float]:
    here = scores.clips.section == section
    return decision_values(scores.clips.domain[here], scores.clips.label[here], scores.decision[here]) | {
        "threshold": cut if np.isfinite(cut := float(scores.threshold[section])) else None
    }
