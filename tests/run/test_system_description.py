"""The fields of a meta file that a run can fill in, and those that are left."""

import json
import math
import shutil

import pytest

from asd_jax.config import RunConfig
from asd_jax.data.dcase import edition
from asd_jax.run.system_description import TO_FILL_IN, UNKNOWN, described, unfilled
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
    # Weights of others are of no matter where no encoder is used.
    values |= {"model.weights": "eat.safetensors"}
    system = described(run_of(tmp_path / "run", **values), "A_B", edition(2025))["system"]
    assert system == {
        "description": {
            **dict.fromkeys(UNKNOWN),
            "input_sampling_rate": "16kHz",
            "acoustic_features": "log mel filter bank energies",
            "machine_learning_method": "gmm",
            "aggregation_method": "max",
            "domain_generalization_method": "domain normalisation of scores (train)",
            "development_data_usage": "development",
        },
        "complexity": {"total_parameters": 0, "MACS": None},
        "external_datasets": None,
        "source_code": None,
    }


def test_an_encoder_that_others_trained_is_named_with_its_data_and_an_ensemble_is_counted(
    tmp_path, encoder_file
):
    values = {"model.weights": str(encoder_file), "seeds": 3, "augment.mask_filters": 0}
    system = described(run_of(tmp_path / "run", **values), "A_B", edition(2024))["system"]
    one = sum(math.prod(tensor.shape) for tensor in open_tensors(encoder_file)[1].values())
    assert system == {
        "description": {
            **dict.fromkeys(UNKNOWN),
            "input_sampling_rate": "16kHz",
            "data_augmentation": "mixup (waveform), spectrogram masking",
            "acoustic_features": "log even filter bank energies, SimAM (local)",
            "embeddings": "EAT",
            "machine_learning_method": "ViT, knn",
            "domain_generalization_method": "domain normalisation of scores (train)",
            "ensemble_method_subsystem_count": 3,
            "decision_making": "average",
            "attribute_usage": "classes of the auxiliary classification",
            "external_data_usage": "pre-trained model",
            "development_data_usage": "development",
        },
        # Frozen weights, as the run has none of its own; multiply-accumulates are asked since 2025.
        "complexity": {"total_parameters": one},
        "external_datasets": [{"name": "AudioSet", "url": "https://research.google.com/audioset/"}],
        "source_code": None,
    }


@pytest.mark.parametrize("weights", ["", "none", "box"])
def test_an_encoder_of_ones_own_needs_no_data_of_others(tmp_path, weights):
    values = {"model.weights": weights, "augment.mixup": "none"}
    values |= {"augment.mask_frames": 0, "augment.mask_filters": 0}
    system = described(run_of(tmp_path / "run", **values), "A_B", edition(2025))["system"]
    description = system["description"]
    assert description["embeddings"] is system["external_datasets"] is None
    assert description["external_data_usage"] is None
    assert description["data_augmentation"] == ""
    assert description["ensemble_method_subsystem_count"] is description["decision_making"] is None


def test_scores_alone_leave_the_system_to_its_authors(tmp_path):
    found = described(tmp_path, "A_B", edition(2025))
    assert found["system"] == {
        "description": UNKNOWN,
        "complexity": {"total_parameters": TO_FILL_IN, "MACS": None},
        "external_datasets": None,
        "source_code": None,
    }
    assert found["results"] == {"development_dataset": None}
    (author,) = found["submission"]["authors"]
    assert author["corresponding"] is True and found["submission"]["label"] == "A_B"


@pytest.mark.parametrize(
    ("year", "columns", "means"),
    [
        (2020, {"auc": [0.5, 0.25], "pauc": [0.6, 0.2]}, {"auc": 37.5, "pauc": 40.0}),
        (
            2021,
            {"auc_source": [0.5, 0.5], "auc_target": [0.25, 0.25], "pauc_source": [0.6, 0.6]},
            {"auc": 33.33, "pauc": 60.0},
        ),
        (
            2022,
            {"auc_source": [0.5, 0.25], "pauc": [0.61236, 0.61236]},
            {"auc_source": 33.33, "pauc": 61.24},
        ),
    ],
)
def test_results_are_the_means_over_the_sections_of_a_development_machine(
    tmp_path, year, columns, means
):
    run = run_of(tmp_path / "run", **{"data.year": year})
    first, second = edition(year).dev["fan"][:2]
    sections = {
        section: {column: values[n] for column, values in columns.items()}
        for n, section in enumerate((first, second))
    }
    # A section of the evaluation set and a machine of one's own do not count.
    sections["99"] = dict.fromkeys(columns, 0.1)
    results = {"machines": {"fan": sections, "mine": sections}}
    (run / "results.json").write_text(json.dumps(results))
    kind = "averaged" if year == 2020 else "harmonic_mean"
    wanted = {f"{kind}_{name}": value for name, value in means.items()}
    found = described(run, "A_B", edition(year))["results"]["development_dataset"]
    assert found == {"fan": wanted}


def test_a_machine_of_2023_has_one_section_whose_values_are_no_means(tmp_path):
    run = run_of(tmp_path / "run", **{"data.year": 2023})
    own = {"00": {"auc_source": 0.5, "auc_target": 0.25, "pauc": 0.6}}
    (run / "results.json").write_text(json.dumps({"machines": {"fan": own}}))
    found = described(run, "A_B", edition(2023))["results"]["development_dataset"]
    assert found == {"fan": {"auc_source": 50.0, "auc_target": 25.0, "pauc": 60.0}}


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
    system = described(run, "A_B", edition(2025))["system"]
    assert system["complexity"]["total_parameters"] == one
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
        ({"abbreviation": "ten_letter"}, []),
        ({"abbreviation": "e"}, []),
        ({"abbreviation": ""}, ["submission.abbreviation: '' must have 1 to 10 letters"]),
        ({"abbreviation": 3}, ["submission.abbreviation: 3 must have 1 to 10 letters"]),
        ({"abbreviation": TO_FILL_IN}, ["submission.abbreviation"]),
        (
            {"authors": [AUTHOR, "Lovelace"]},
            ["submission.authors: a list of lastname, firstname, email and affiliation"],
        ),
        ({"authors": [{"lastname": "Lovelace"}, AUTHOR]}, []),
        (
            {"authors": [{"corresponding": "yes"}]},
            ["submission.authors: 0 are marked corresponding: true; one must be"],
        ),
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
