"""The scores of one folder, and what is said beside them."""

import re

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.evaluation import aligned, compare_systems, evaluate_system, labelled_sections
from asd_jax.scoring.score_files import ScoredClip


def clips(machine="mine", section="00", shift=3.0, decision=None, seed=0, known=True):
    rng = np.random.default_rng(seed)
    rows = [(domain, label) for domain in ("source", "target") for label in (0, 1) * 8]
    return [
        ScoredClip(
            machine,
            section,
            f"{n:04d}.wav",
            domain if known else "unknown",
            label if known else -1,
            float(rng.normal() + shift * label),
            decision,
        )
        for n, (domain, label) in enumerate(rows)
    ]


def test_a_section_with_an_unlabelled_clip_is_left_out_and_named():
    kept, notes = labelled_sections("runs", clips() + clips(section="01", known=False), 2024)
    assert {clip.section for clip in kept} == {"00"}
    assert notes == [
        "mine section 01: 32 clips have no label and domain; the score leaves it out "
        "(--ground_truth=DIR gives labels)"
    ]
    said = (
        "runs: mine section 00: 0000.wav has no label and domain (32 such clips); give "
        "--ground_truth=DIR, or --check to check the files only"
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        labelled_sections("runs", clips(known=False), 2024)


def test_domains_are_asked_for_since_2021():
    nameless = [clip._replace(domain="unknown") for clip in clips()]
    assert len(labelled_sections("runs", nameless, 2020)[0]) == 32
    with pytest.raises(InputError, match="^runs: mine section 00: 0000.wav has no label and"):
        labelled_sections("runs", nameless, 2021)


def test_faultless_scores_and_decisions_are_worth_one():
    perfect = [clip._replace(score=float(clip.label), decision=clip.label) for clip in clips()]
    found = evaluate_system("runs", perfect, 2024)
    values = found["machines"]["mine"]["00"]
    assert found["official_score"] == values["auc_source"] == values["f1_target"] == 1
    assert found["notes"] == [] and "mean_of_machine_means" not in found
    assert evaluate_system("runs", perfect, 2020)["mean_of_machine_means"] == 1


def test_equal_scores_are_noted():
    found = evaluate_system("runs", [clip._replace(score=2.0) for clip in clips()], 2024)
    assert found["official_score"] == 0.5
    assert found["notes"] == ["mine section 00: all 32 scores are equal, which counts as 0.5"]


def test_runs_on_other_clips_are_not_compared():
    labelled, scores = aligned([clips(), clips(seed=1)])
    assert scores.shape == (2, 32) and labelled[1] == ("mine", "00", "source", 1)
    said = "the folders must score the same clips; only some of them have mine/01/0000.wav"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        aligned([clips(), clips() + clips(section="01")])


def test_the_better_system_is_better():
    better, worse = ([clips(shift=shift, seed=seed) for seed in (0, 1)] for shift in (4.0, 0.0))
    found = compare_systems(better, worse, 2024, replicates=50, seed=0)
    assert found["low"] > 0
