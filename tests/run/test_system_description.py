"""The fields of a meta file that a run can fill in, and those that are left."""

import json
import math
import shutil

import pytest

from asd_jax.config import RunConfig
from asd_jax.data.dcase import edition
from asd_jax.run.system_description import TO_FILL_IN, described, unfilled
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.training.tensors import open_tensors

AUTHOR = {"lastname": "Lovelace", "corresponding": True}


def run_of(folder, **values):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(to_dict(with_values(RunConfig(), values))))
    return folder


def test_the_description_is_that_of_the_config(tmp_path):
    values = {"features.spacing": "mel", "features.simam": "none", "scoring.back_end": "gmm"}
    values |= {"model.encoder": "filter_bank", "data.length": "window", "scoring.windows": "max"}
    system = described(run_of(tmp_path / "run", **values), "A_B", edition(2025))["system"]
    found = system["description"]
    assert found["acoustic_features"] == "log mel filter bank energies"
    assert found["machine_learning_method"] == "gmm" and found["aggregation_method"] == "max"
    assert found["attribute_usage"] is found["external_data_usage"] is None
    assert system["complexity"]["total_parameters"] == 0


def test_parameters_are_counted_in_the_weights_of_every_seed(tmp_path, encoder_file):
    run = run_of(tmp_path / "run", seeds=2)
    for seed in ("seed_0", "seed_1"):
        (run / seed).mkdir()
        shutil.copy(encoder_file, run / seed / "weights.safetensors")
    system = described(run, "A_B", edition(2025))["system"]
    one = sum(math.prod(tensor.shape) for tensor in open_tensors(encoder_file)[1].values())
    assert system["complexity"]["total_parameters"] == 2 * one
    assert system["description"]["ensemble_method_subsystem_count"] == 2
    (run / "seed_0" / "weights.safetensors").unlink()
    (run / "seed_1" / "weights.safetensors").unlink()
    system = described(run, "A_B", edition(2025))["system"]
    assert system["complexity"]["total_parameters"] == TO_FILL_IN


@pytest.mark.parametrize(
    ("submission", "left"),
    [
        ({"name": TO_FILL_IN}, ["submission.name"]),
        (
            {"abbreviation": "far_too_long"},
            ["submission.abbreviation: 'far_too_long' must have 1 to 10 letters"],
        ),
        ({"authors": []}, ["submission.authors: 0 are marked corresponding: true; one must be"]),
        (
            {"authors": [AUTHOR, AUTHOR | {"lastname": TO_FILL_IN}]},
            [
                "submission.authors[1].lastname",
                "submission.authors: 2 are marked corresponding: true; one must be",
            ],
        ),
        (
            {"authors": "Lovelace"},
            ["submission.authors: a list of lastname, firstname, email and affiliation"],
        ),
        ({"label": "Lastname_Institute_task2_1"}, ["--label"]),
        ({}, []),
    ],
)
def test_what_is_left_to_fill_in_is_named(submission, left):
    whole = {"name": "EAT", "abbreviation": "EAT", "authors": [AUTHOR], "label": "A_B_task2_1"}
    results = {"development_dataset": {"fan": {"pauc": 50.0}}}
    assert list(unfilled({"submission": whole | submission, "results": results})) == left
    recommended = list(unfilled({"submission": whole | submission}))[len(left) :]
    assert recommended == [
        "results.development_dataset (recommended): the run has no development machines"
    ]
