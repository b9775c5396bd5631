"""Compares all back ends under all domain normalisations on the same embeddings."""

import dataclasses
from collections.abc import Mapping, Sequence

from asd_jax.runtime.errors import InputError, error_context
from asd_jax.scoring.anomaly_score import fit_sections, score_sections
from asd_jax.scoring.back_ends.chosen import BACK_ENDS
from asd_jax.scoring.domain_normalization import MODES
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import DEFAULT, Scoring
from asd_jax.scoring.results import UNLABELLED, results

Grid = dict[str, dict[str, float | None]]


def compare_back_ends(
    machines: Mapping[str, Embeddings],
    scoring: Scoring = DEFAULT,
    year: int = 2024,
    *,
    back_ends: Sequence[str] = tuple(BACK_ENDS),
) -> tuple[Grid, list[str]]:
    """Returns {back end: {normalisation: official score}}, and notes; each back end is fitted once.

    A score is None if the combination is impossible, e.g. SMOTE without target clips, or held_out
    without held-out clips.

    Args:
        machines: {machine: its embeddings}.
        scoring: the other options.
        year: the year whose rule defines the official score.
        back_ends: names of the back ends.
    """
    grid: Grid = {}
    notes: dict[str, None] = {}  # a dictionary keeps the order and removes duplicates
    for name in back_ends:
        grid[name] = dict.fromkeys(MODES)
        of_name = dataclasses.replace(scoring, back_end=name)
        fitted = {}
        scored = {}
        try:
            for machine, embeddings in machines.items():
                with error_context(f"machine {machine}"):
                    fitted[machine] = fit_sections(embeddings, of_name)
        except InputError as error:
            notes[f"{name}: {error}"] = None
            continue
        for mode in MODES:
            try:
                for machine, of in fitted.items():
                    with error_context(f"machine {machine}"):
                        scored[machine] = score_sections(machines[machine], of, normalization=mode)
            except InputError as error:
                notes[str(error)] = None
                continue
            # Fitted once, scored under every normalisation.
            options = dataclasses.replace(of_name, normalization=mode)
            found = results(scored, options, year)
            grid[name][mode] = found["official_score"]
            # Missing labels concern the whole grid; other notes belong to one combination.
            notes |= dict.fromkeys(note for note in found["notes"] if UNLABELLED in note)
    return grid, list(notes)
