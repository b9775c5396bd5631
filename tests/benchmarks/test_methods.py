"""The rows of the methods, and their table over several sets."""

import dataclasses

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.automatic import chosen_scoring
from asd_jax.scoring.options import DEFAULT, Scoring
from benchmarks import grid, methods


def test_every_row_changes_one_thing_of_the_reference():
    rows = methods.views(3)
    reference = rows[methods.REFERENCE]
    assert len({view.name for view in rows.values()}) == len(rows)
    for name, view in rows.items():
        differing = [view.block != reference.block, view.pooling != reference.pooling]
        tokens = dataclasses.asdict(view.tokens)
        mine = dataclasses.asdict(reference.tokens)
        differing += [tokens[key] != mine[key] for key in tokens]
        assert sum(differing) <= 1 or name == "CLS", name
    for options in methods.SCORINGS.values():
        assert dataclasses.replace(DEFAULT, **options) != DEFAULT


def test_the_automatic_row_scores_each_machine_by_its_own_choice():
    machines = {"fan": machine(seed=0), "pump": machine(seed=1)}
    scoring = Scoring(back_end="auto")
    found = methods.row("auto", machines, scoring, 2024)
    start = 0
    for name, (own, _) in chosen_scoring(machines, scoring).items():
        alone = grid.scored([{name: machines[name]}], own, 2024)
        end = start + alone.scores.shape[1]
        np.testing.assert_array_equal(found.scores[:, start:end], alone.scores)
        assert found.clips[start:end] == alone.clips
        start = end
    assert start == found.scores.shape[1]


def test_a_method_that_needs_more_clips_is_left_out_and_said_to_be(capsys):
    few = {"fan": machine(target=2)}
    assert methods.row("VarMin", few, Scoring(back_end="varmin"), 2024) is None
    assert "VarMin is left out: " in capsys.readouterr().out


def test_sets_stand_side_by_side(tmp_path):
    for name, word in (("fan", "better"), ("drone", "not distinguishable")):
        cells = {"knn": {"official_score": 0.5, "interval": [0.4, 0.6], "verdict": word}}
        write_json(tmp_path / name / "methods.json", {"cells": cells})
    text = methods.markdown(methods.joined([tmp_path / "fan", tmp_path / "drone"]))
    assert text.splitlines()[2] == "| knn | 50.0 (40 to 60) + | 50.0 (40 to 60) |"
    with pytest.raises(InputError, match="no methods.json"):
        methods.joined([tmp_path / "none"])
