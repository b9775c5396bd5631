"""The scores of one folder, and what is said beside them."""

import dataclasses
import re

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.evaluation import (
    aligned,
    compare_systems,
    evaluate_system,
    intervals,
    labelled_sections,
)
from asd_jax.scoring.intervals import bootstrap, jackknife, paired_bootstrap
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
    assert found["notes"] == [] and not {"mean_of_machine_means", "by_set"} & set(found)
    of_2020 = evaluate_system("runs", perfect, 2020)
    assert of_2020["mean_of_machine_means"] == 1
    # There were no domains.
    assert of_2020["machines"]["mine"]["00"] == dict.fromkeys(
        ("auc", "pauc", "precision", "recall", "f1"), 1.0
    )
    scores_only = [clip._replace(decision=None) for clip in perfect]
    values = evaluate_system("runs", scores_only, 2024)["machines"]["mine"]["00"]
    assert values == {"auc_source": 1, "auc_target": 1, "pauc": 1}


def test_each_section_has_the_decisions_of_its_own_clips():
    both = clips(decision=1) + clips(section="01", decision=0)
    values = evaluate_system("runs", both, 2024)["machines"]["mine"]
    assert [values[section]["recall_source"] for section in ("00", "01")] == [1, 0]
    assert values["00"]["precision_target"] == 0.5


def test_development_and_evaluation_machines_are_also_scored_apart():
    found = evaluate_system("runs", clips("fan") + clips("Scanner", shift=1.0), 2024)
    assert found["by_set"]["dev"] > found["official_score"] > found["by_set"]["evaluation"]
    assert [note.split(";")[0] for note in found["notes"]] == [
        f"scores of 1 of the {count} {name} machines of DCASE 2024, so this is not the challenge's "
        "score"
        for count, name in ((7, "development"), (9, "evaluation"))
    ]


def test_a_folder_that_cannot_be_scored_is_named():
    with pytest.raises(InputError, match="^runs: mine section 00: auc_source needs normal"):
        evaluate_system("runs", [clip._replace(label=1) for clip in clips()], 2024)


@pytest.mark.parametrize(
    ("machine", "section", "year", "named", "noted"),
    [
        ("ToyCar", "03", 2022, "anomaly", True),
        ("ToyCar", "03", 2022, "normal", True),
        ("ToyCar", "03", 2022, "test", False),
        ("ToyCar", "00", 2022, "anomaly", False),  # of the development set
        ("fan", "03", 2022, "anomaly", False),
        ("ToyCar", "03", 2021, "anomaly", False),
    ],
)
def test_labels_that_the_evaluator_contradicts_are_noted(machine, section, year, named, noted):
    of = [clip._replace(file=f"{named}_{clip.file}") for clip in clips(machine, section)]
    said = (
        f"{machine} section {section}: the labels in these names come from "
        f"eval_data_list_{year}.csv, which the official evaluator contradicts; score the released "
        "names with its folder"
    )
    assert (said in evaluate_system("runs", of, year)["notes"]) == noted


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
    found = compare_systems(better, worse, 2024, replicates=50, seed=3)
    assert found["low"] > 0
    labelled, scores = aligned([*better, *worse])
    options = {"replicates": 50, "seed": 3}
    expected = paired_bootstrap(labelled, scores[:2], scores[2:], 2024, **options)
    assert found == dataclasses.asdict(expected)
    # One system of a single seed against one of two.
    one = compare_systems(better[:1], worse, 2024, **options)
    expected = paired_bootstrap(labelled, scores[0], scores[2:], 2024, **options)
    assert one == dataclasses.asdict(expected)


def test_intervals_are_those_of_the_score_and_of_the_first_runs_pooled_clips():
    runs = [clips(shift=1.0), clips(shift=1.0, seed=1)]
    found = intervals(runs, 2024, replicates=50, seed=3)
    labelled, scores = aligned(runs)
    expected = bootstrap(labelled, scores, 2024, replicates=50, seed=3)
    assert found["bootstrap"] == dataclasses.asdict(expected)
    pooled = jackknife([clip.label for clip in runs[0]], scores[0])
    for width, value in found["jackknife"].items():
        mean = (getattr(pooled["auc"], width) + getattr(pooled["pauc"], width)) / 2
        assert value == pytest.approx(mean)
    assert list(found["jackknife"]) == ["evaluator_half_width", "half_width"]
