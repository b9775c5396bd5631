"""Describes a finished run in the fields of a challenge entry's meta file."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asd_jax.config import RunConfig, read_config
from asd_jax.data.dcase import Edition
from asd_jax.run.workdir import Run
from asd_jax.runtime.files import read_json
from asd_jax.scoring.official_score import harmonic_mean
from asd_jax.training.tensors import open_tensors

TO_FILL_IN = "TO FILL IN"
MOST_LETTERS = 10  # of the abbreviation
# The description of a system of which only the scores are known.
UNKNOWN: dict[str, Any] = {
    "input_sampling_rate": TO_FILL_IN,
    "data_augmentation": None,
    "front_end": None,
    "acoustic_features": TO_FILL_IN,
    "embeddings": None,
    "machine_learning_method": TO_FILL_IN,
    "aggregation_method": None,
    "domain_adaptation_method": None,
    "domain_generalization_method": None,
    "ensemble_method_subsystem_count": None,
    "decision_making": None,
    "attribute_usage": None,
    "external_data_usage": None,
    "development_data_usage": "development",
}
AUDIOSET = {"name": "AudioSet", "url": "https://research.google.com/audioset/"}


def described(workdir: Path, name: str, of: Edition) -> dict[str, Any]:
    """Returns the fields of the meta file of one system, as far as they follow from its run.

    Fields that do not apply are None; those that only the authors know are TO_FILL_IN. A folder
    without config.json has the scores of another model, of which most fields are unknown.
    """
    run = Run(workdir)
    config = read_config(RunConfig, read_json(run.config)) if run.config.is_file() else None
    public = config is not None and _is_public(config)
    return {
        "submission": {
            "label": name,
            "name": TO_FILL_IN,
            "abbreviation": TO_FILL_IN,
            "authors": [
                {
                    "lastname": TO_FILL_IN,
                    "firstname": TO_FILL_IN,
                    "email": TO_FILL_IN,
                    "corresponding": True,
                    "affiliation": {"institution": TO_FILL_IN, "location": TO_FILL_IN},
                }
            ],
        },
        "system": {
            "description": _description(config, public) if config else UNKNOWN,
            "complexity": {
                "total_parameters": _parameters(run, config) if config else TO_FILL_IN,
                # Multiply-accumulates, which the published entries of 2025 leave open.
                **({"MACS": None} if of.year >= 2025 else {}),
            },
            "external_datasets": [AUDIOSET] if public else None,
            "source_code": None,
        },
        "results": {"development_dataset": _results(run.results, of)},
    }


def _is_public(config: RunConfig) -> bool:
    """Returns whether the encoder was pre-trained by others, on AudioSet."""
    return config.model.encoder == "eat" and config.model.weights not in ("", "none", "box")


def _description(config: RunConfig, public: bool) -> dict[str, Any]:
    seeds = config.seeds
    scoring = config.scoring
    augment = config.augment
    eat = config.model.encoder == "eat"
    masks = "spectrogram masking" if augment.mask_frames or augment.mask_filters else ""
    mixing = "" if augment.mixup == "none" else f"mixup ({augment.mixup})"
    simam = "" if config.features.simam == "none" else f", SimAM ({config.features.simam})"
    return {
        "input_sampling_rate": "16kHz",
        "data_augmentation": ", ".join(filter(None, (mixing, masks))) if eat else None,
        "front_end": None,
        "acoustic_features": f"log {config.features.spacing} filter bank energies{simam}",
        "embeddings": "EAT" if public else None,
        "machine_learning_method": ", ".join(["ViT"] * eat + [scoring.back_end]),
        "aggregation_method": scoring.windows if config.data.length == "window" else None,
        "domain_adaptation_method": None,
        "domain_generalization_method": f"domain normalisation of scores ({scoring.normalization})",
        "ensemble_method_subsystem_count": seeds if seeds > 1 else None,
        "decision_making": "average" if seeds > 1 else None,
        "attribute_usage": "classes of the auxiliary classification" if eat else None,
        "external_data_usage": "pre-trained model" if public else None,
        "development_data_usage": "development",
    }


def _parameters(run: Run, config: RunConfig) -> int | str:
    """Returns the number of parameters in the run's weight files, or of frozen weights."""
    if config.model.encoder != "eat":
        return 0
    # An ensemble has the parameters of all its seeds.
    trained = [one.weights for one in (run, *run.seeds()) if one.weights.exists()]
    files = trained or [Path(config.model.weights)]
    # A file of frozen weights may have been moved since.
    if not all(file.is_file() for file in files):
        return TO_FILL_IN
    tensors = [tensor for file in files for tensor in open_tensors(file)[1].values()]
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _results(path: Path, of: Edition) -> dict[str, Any] | None:
    """Returns the development machines' AUC and pAUC in percent, in the year's words."""
    machines = read_json(path).get("machines", {}) if path.is_file() else {}
    found = {}
    for machine, sections in of.dev.items():
        own = [machines[machine][s] for s in sections if s in machines.get(machine, {})]
        if own:
            found[machine] = {
                name: round(100 * value, 2) for name, value in _means(own, of.year).items()
            }
    return found or None


def _means(sections: list[Mapping[str, float]], year: int) -> dict[str, float]:
    def values(*columns):
        return [section[column] for section in sections for column in columns if column in section]

    # 2020 reported arithmetic means, the later editions report harmonic ones.
    if year == 2020:
        columns = {"averaged_auc": ("auc",), "averaged_pauc": ("pauc",)}
        return {name: sum(values(*of)) / len(values(*of)) for name, of in columns.items()}
    if year == 2021:
        columns = {
            "harmonic_mean_auc": ("auc_source", "auc_target"),
            "harmonic_mean_pauc": ("pauc_source", "pauc_target"),
        }
    else:
        # Since 2023 a machine has one section, so there is no mean over sections.
        of_sections = "harmonic_mean_" if year == 2022 else ""
        columns = {f"{of_sections}{c}": (c,) for c in ("auc_source", "auc_target", "pauc")}
    return {name: float(harmonic_mean(values(*of))) for name, of in columns.items() if values(*of)}


def unfilled(description: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is missing or wrong in a description, e.g. "submission.name"."""
    yield from _placeholders(description, "")
    submission = description["submission"]
    short = submission.get("abbreviation")
    # The placeholder itself was reported above.
    if short != TO_FILL_IN and not (isinstance(short, str) and 0 < len(short) <= MOST_LETTERS):
        yield f"submission.abbreviation: {short!r} must have 1 to {MOST_LETTERS} letters"
    authors = submission.get("authors")
    if not isinstance(authors, list) or not all(isinstance(one, Mapping) for one in authors):
        yield "submission.authors: a list of lastname, firstname, email and affiliation"
    elif (count := sum(one.get("corresponding") is True for one in authors)) != 1:
        yield f"submission.authors: {count} are marked corresponding: true; one must be"
    # The default of --label, which was not replaced yet.
    if submission["label"].startswith("Lastname_Institute_"):
        yield "--label"
    if not description.get("results", {}).get("development_dataset"):
        yield "results.development_dataset (recommended): the run has no development machines"


def _placeholders(value: Any, where: str) -> Iterator[str]:
    if value == TO_FILL_IN:
        yield where
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _placeholders(below, f"{where}.{key}".strip("."))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _placeholders(below, f"{where}[{number}]")
