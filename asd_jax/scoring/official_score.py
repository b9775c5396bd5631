"""Computes the official score of DCASE Task 2 by the rule of each year (2020-2026)."""

import dataclasses
import sys
from collections.abc import Callable, Iterable

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.auc import auc, pauc, tie_groups

YEARS = range(2020, 2027)
Machines = dict[str, dict[str, dict[str, float]]]  # {machine: {section: {column: value}}}


@dataclasses.dataclass(frozen=True)
class OfficialScore:
    """The values that the organisers' evaluator computes.

    Attributes:
        year: the year whose rule is used.
        official_score: 2020: arithmetic mean of all AUC and pAUC; later years: harmonic mean of all
            values below.
        machines: {machine: {section: {column: value}}}; columns auc, pauc (2020), auc_source,
            auc_target, pauc_source, pauc_target (2021), auc_source, auc_target, pauc (2022 and
            later).
        arithmetic_mean: {column: mean over machines and sections}; 2021 also has auc and pauc over
            both domains.
        harmonic_mean: the same with harmonic means.
    """

    year: int
    official_score: float
    machines: Machines
    arithmetic_mean: dict[str, float]
    harmonic_mean: dict[str, float]


def official_score(clips: Iterable[tuple], year: int) -> OfficialScore:
    """Returns the official score of a year; a higher anomaly score means more anomalous.

        official_score([("fan", "00", "source", 0, 0.2), ...], year=2024).official_score

    Args:
        clips: (machine, section, domain, label, score) of each clip; domain "source" or "target"
            (ignored in 2020, which has no domains), label 0 normal or 1 anomaly.
        year: 2020-2026. 2020 scores machine IDs, 2021 scores the clips of each domain; since 2022
            the AUC of a domain compares its normal clips with ALL anomalies of the section. 2026
            follows the baseline's unchanged code.

    Raises:
        InputError: the year is unknown, there are no clips, a score is not finite, a label is
            neither 0 nor 1, or a section lacks normal clips or anomalies of a subset that the rule
            needs.
    """
    check_year(year)
    sections: dict[tuple[str, str], list] = {}
    for machine, section, *clip in clips:
        sections.setdefault((str(machine), str(section)), []).append(clip)
    if not sections:
        raise InputError("official score: no clips")
    machines: Machines = {}
    for (machine, section), rows in sorted(sections.items()):
        domain, label, score = (np.array(column) for column in zip(*rows, strict=True))
        values = section_values(f"{machine} section {section}", domain, label, score, year)
        machines.setdefault(machine, {})[section] = values
    return summary(machines, year)


def summary(machines: Machines, year: int) -> OfficialScore:
    """Returns the official score and the means of {machine: {section: {column: AUC or pAUC}}}."""
    columns = mean_columns(machines, year)
    rule = [
        values
        for column, values in columns.items()
        # In 2021 these columns repeat the values of each domain.
        if year != 2021 or column not in ("auc", "pauc")
    ]
    return OfficialScore(
        year=year,
        official_score=float(official_mean(rule, year)),
        machines=machines,
        arithmetic_mean={name: float(np.mean(values)) for name, values in columns.items()},
        harmonic_mean={name: float(harmonic_mean(values)) for name, values in columns.items()},
    )


def check_year(year: int) -> None:
    """Raises InputError unless the task was held in `year`."""
    if year not in YEARS:
        raise InputError(
            f"year {year}: DCASE Task 2 as scored here was held from {YEARS[0]} to {YEARS[-1]}"
        )


def section_values(
    name: str, domain, label, score, year: int, lacking: list[str] | None = None
) -> dict[str, float]:
    """Returns {column: AUC or pAUC} for the clips of one section.

    `name` identifies the section in errors. A column without normal clips or without anomalies
    raises an InputError. If `lacking` is given, the column is left out instead and the reason is
    appended to `lacking`.
    """
    if not np.isin(label, (0, 1)).all():
        raise InputError(
            f"{name}: labels must be 0 (normal) or 1 (anomaly), found {sorted(set(label.tolist()))}"
        )
    if not np.isfinite(score).all():
        raise InputError(f"{name}: {np.sum(~np.isfinite(score))} anomaly scores are not finite")
    values = {}
    for column, (metric, mask) in section_columns(domain, label, year).items():
        normals = np.sum(label[mask] == 0)
        anomalies = np.sum(label[mask] == 1)
        if not normals or not anomalies:
            message = (
                f"{name}: {column} needs normal and anomalous clips, found {normals} and "
                f"{anomalies}"
            )
            message += (
                " (domains must be source or target; the rule of year 2020 needs no domains)"
                if year > 2020
                else ""
            )
            if lacking is None:
                raise InputError(message)
            lacking.append(message)
            continue
        values[column] = float(metric(*tie_groups(label[mask], score[mask])))
    return values


def section_columns(domain, label, year: int) -> dict[str, tuple[Callable, np.ndarray]]:
    """Returns {column: (metric, mask of its clips)}: the rule of the year for one section."""
    every = np.ones(len(label), bool)
    source = domain == "source"
    target = domain == "target"
    if year == 2020:
        return {"auc": (auc, every), "pauc": (pauc, every)}
    if year == 2021:
        return {
            "auc_source": (auc, source),
            "auc_target": (auc, target),
            "pauc_source": (pauc, source),
            "pauc_target": (pauc, target),
        }
    return {
        # Since 2022 (domain generalisation) a system does not know the domain of a test clip, so
        # the AUC of each domain includes the anomalies of both.
        "auc_source": (auc, source | (label == 1)),
        "auc_target": (auc, target | (label == 1)),
        "pauc": (pauc, every),
    }


def mean_columns(machines: Machines, year: int) -> dict[str, list[float]]:
    """Returns {column: values over machines and sections}; 2021 also has both domains together."""
    columns: dict[str, list[float]] = {}
    for sections in machines.values():
        for values in sections.values():
            for column, value in values.items():
                columns.setdefault(column, []).append(value)
    if year == 2021:
        # The evaluator of 2021 prints these means too; its score does not use them.
        columns |= {
            m: columns.get(f"{m}_source", []) + columns.get(f"{m}_target", [])
            for m in ("auc", "pauc")
        }
    return columns


def official_mean(values, year: int):
    """Returns the official score "..." of arrays of AUC and pAUC values "v ...".

    The arrays are concatenated along their first axis (machines, sections and columns).
    """
    values = np.concatenate([np.asarray(v, np.float64) for v in values])
    # Since 2021 the harmonic mean gives the worst machine the most weight.
    return values.mean(0) if year == 2020 else harmonic_mean(values)


def harmonic_mean(values):
    """Returns the harmonic mean "..." of values "v ..." over the first axis.

    Each value is floored at the float epsilon, so that a value of 0 does not divide by zero.
    """
    # The official evaluator floors by the same epsilon.
    values = np.maximum(np.asarray(values, np.float64), sys.float_info.epsilon)
    return len(values) / np.sum(1 / values, axis=0)


def mean_of_machine_means(machines: Machines) -> float:
    """Returns the mean over machines of the mean of each machine's AUC and pAUC values.

    It is the other average of 2020: RMIS and ASDKit average the IDs of a machine type first and
    the types then, so that ToyConveyor's three IDs weigh as much as the four of another type.
    """
    means = [
        np.mean([value for values in sections.values() for value in values.values()])
        for sections in machines.values()
    ]
    return float(np.mean(means))


def decision_values(domain, label, decision) -> dict[str, float]:
    """Returns precision, recall and F1 of decisions "n" (1 anomalous) on the clips of each domain.

    They are not part of the official score. The columns are precision_source, ... for the domains
    that occur, and precision, ... if no domain is known.
    """
    domain = np.asarray(domain)
    label = np.asarray(label)
    decision = np.asarray(decision)
    values = {}
    for name in [d for d in ("source", "target") if np.any(domain == d)] or [""]:
        own = domain == name if name else np.ones(len(label), bool)
        hits = np.sum((decision == 1) & (label == 1) & own)
        # The epsilon is the official evaluator's; it avoids 0 / 0 if no clip is called anomalous.
        precision = float(hits / max(np.sum((decision == 1) & own), sys.float_info.epsilon))
        recall = float(hits / max(np.sum((label == 1) & own), sys.float_info.epsilon))
        f1 = 2 * precision * recall / max(precision + recall, sys.float_info.epsilon)
        end = f"_{name}" if name else ""
        values |= {f"precision{end}": precision, f"recall{end}": recall, f"f1{end}": f1}
    return values
