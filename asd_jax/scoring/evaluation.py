"""Scores the clips of a submission folder, states what the score covers, and compares systems."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asd_jax.data.dcase import edition, set_of
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.coverage import coverage_notes, scores_by_set
from asd_jax.scoring.intervals import bootstrap, jackknife, paired_bootstrap
from asd_jax.scoring.official_score import (
    decision_values,
    mean_of_machine_means,
    official_score,
)
from asd_jax.scoring.score_files import ScoredClip


def labelled_sections(
    folder: str, clips: Sequence[ScoredClip], year: int
) -> tuple[list[ScoredClip], list[str]]:
    """Returns the clips of the sections whose clips all have label and domain, and notes on others.

    Raises:
        InputError: no section is labelled; the message names the folder.
    """
    unlabelled: dict[tuple[str, str], list[ScoredClip]] = {}
    for clip in clips:
        # The rule of 2020 has no domains.
        if clip.label < 0 or (year > 2020 and clip.domain not in ("source", "target")):
            unlabelled.setdefault((clip.machine, clip.section), []).append(clip)
    kept = [clip for clip in clips if (clip.machine, clip.section) not in unlabelled]
    if not kept:
        (machine, section), (first, *_) = next(iter(unlabelled.items()))
        raise InputError(
            f"{folder}: {machine} section {section}: {first.file} has no label and domain "
            f"({sum(map(len, unlabelled.values()))} such clips); give --ground_truth=DIR, or "
            "--check to check the files only"
        )
    return kept, [
        f"{machine} section {section}: {len(those)} clips have no label and domain; the score "
        "leaves it out (--ground_truth=DIR gives labels)"
        for (machine, section), those in unlabelled.items()
    ]


def evaluate_system(folder: str, clips: Sequence[ScoredClip], year: int) -> dict:
    """Returns the scores of one folder's labelled clips, with the fields of results.json.

    "by_set" holds the official scores of the development and the evaluation machines if both are
    present, "mean_of_machine_means" the other average of 2020, and "notes" what a reader of the
    score must know.

    Raises:
        InputError: no section is labelled, or `official_score` raises; the message names the
            folder.
    """
    clips, notes = labelled_sections(folder, clips, year)
    try:
        official = official_score(
            ((c.machine, c.section, c.domain, c.label, c.score) for c in clips), year
        )
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    found = dataclasses.asdict(official)
    of_section: dict[tuple[str, str], list[ScoredClip]] = {}
    for clip in clips:
        of_section.setdefault((clip.machine, clip.section), []).append(clip)
    for machine, sections in found["machines"].items():
        for section, values in sections.items():
            own = of_section[machine, section]
            # read_submission has checked that a section has a decision for every clip or for none.
            if own[0].decision is not None:
                known = [c.domain if year > 2020 else "" for c in own]
                values |= decision_values(known, [c.label for c in own], [c.decision for c in own])
            notes += _section_notes(own, year)
    if by_set := scores_by_set(official.machines, year):
        found["by_set"] = by_set
    if year == 2020:
        found["mean_of_machine_means"] = mean_of_machine_means(official.machines)
    notes += coverage_notes(((c.machine, c.section) for c in clips), year)
    return found | {"notes": notes}


def _section_notes(clips: Sequence[ScoredClip], year: int) -> list[str]:
    """Returns notes on the scores and labels of one section."""
    name = f"{clips[0].machine} section {clips[0].section}"
    notes = []
    if len({clip.score for clip in clips}) == 1:
        notes.append(f"{name}: all {len(clips)} scores are equal, which counts as 0.5")
    named = any("normal" in clip.file or "anomaly" in clip.file for clip in clips)
    wrong = clips[0].machine in edition(year).mislabelled
    if named and wrong and set_of(*clips[0][:2], year) == "evaluation":
        notes.append(
            f"{name}: the labels in these names come from eval_data_list_{year}.csv, which the "
            "official evaluator contradicts; score the released names with its folder"
        )
    return notes


def aligned(runs: Sequence[Sequence[ScoredClip]]) -> tuple[list[tuple], np.ndarray]:
    """Returns the clips (machine, section, domain, label) of all runs, and their scores "run clip".

    Raises:
        InputError: the runs score different clips.
    """
    # Machine, section and file identify a clip; domain and label may be unknown in one folder.
    first = [clip[:3] for clip in runs[0]]
    for clips in runs[1:]:
        if [clip[:3] for clip in clips] != first:
            odd = sorted(set(first) ^ {clip[:3] for clip in clips})[0]
            raise InputError(
                f"the folders must score the same clips; only some of them have {'/'.join(odd)}"
            )
    labelled = [(c.machine, c.section, c.domain, c.label) for c in runs[0]]
    return labelled, np.array([[clip.score for clip in clips] for clips in runs])


def intervals(
    runs: Sequence[Sequence[ScoredClip]], year: int, *, replicates: int, seed: int
) -> dict:
    """Returns the bootstrap interval of the official score and a jackknife.

    The jackknife is that of the pooled AUC and pAUC of the first run.
    """
    clips, scores = aligned(runs)
    interval = bootstrap(clips, scores, year, replicates=replicates, seed=seed)
    # The official evaluator prints the mean of both half widths as that of the score.
    pooled = jackknife([clip[3] for clip in clips], scores[0])
    widths = ("evaluator_half_width", "half_width")
    return {
        "bootstrap": dataclasses.asdict(interval),
        "jackknife": {
            width: float(np.mean([getattr(one, width) for one in pooled.values()]))
            for width in widths
        },
    }


def compare_systems(
    runs: Sequence[Sequence[ScoredClip]],
    others: Sequence[Sequence[ScoredClip]],
    year: int,
    *,
    replicates: int,
    seed: int,
) -> dict:
    """Returns the paired bootstrap of the difference between two systems' official scores."""
    clips, scores = aligned([*runs, *others])
    ours = scores[: len(runs)]
    theirs = scores[len(runs) :]
    found = paired_bootstrap(clips, ours, theirs, year, replicates=replicates, seed=seed)
    return dataclasses.asdict(found)
