"""The zip of a challenge entry: what is in it, and what is refused."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from scoring.submissions import write

import asd_jax.submit
from asd_jax.config import RunConfig
from asd_jax.data.dcase import edition
from asd_jax.run.submit import _read_yaml, merged, submit
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import to_dict
from asd_jax.scoring.submission import read_submission

YEARS = (2020, 2021, 2022, 2025, 2026)
AUTHORS = {
    "submission": {
        "name": "EAT on even bands",
        "abbreviation": "EAT_even",
        "authors": [
            {"lastname": "Lovelace", "firstname": "Ada", "email": "a@b.c", "corresponding": True}
        ],
    },
    "system": {"source_code": "https://example.org/code"},
}


def run_of(folder, year, *, clips=4, label=""):
    """A finished run on development and evaluation machines, without an encoder."""
    of = edition(year)
    rng = np.random.default_rng(year)
    folder.mkdir()
    config = to_dict(RunConfig())
    config["data"]["year"] = year
    config["model"]["encoder"] = "filter_bank"
    (folder / "config.json").write_text(json.dumps(config))
    columns = {"auc_source": 0.5, "auc_target": 0.25, "pauc": 0.6}
    columns = {2020: {"auc": 0.5, "pauc": 0.6}, 2021: columns | {"pauc_source": 0.6}}.get(
        year, columns
    )
    results = {m: dict.fromkeys(sections, columns) for m, sections in of.dev.items()}
    (folder / "results.json").write_text(json.dumps({"machines": results}))
    for machine, sections in (*of.dev.items(), *of.evaluation.items()):
        for section in sections:
            start = "id" if year == 2020 else "section"
            files = [f"{start}_{section}_{label}{n:04}.wav" for n in range(2 * clips)]
            domain = ["source", "target"] * clips
            if year == 2021:
                files = [f"section_{section}_{d}_test_{n:04}.wav" for n, d in enumerate(domain)]
            score = rng.normal(size=2 * clips)
            write(
                folder / "scores",
                machine,
                files,
                score,
                score > 0,
                section=section,
                domain=domain,
                year=year,
            )
    return folder


@pytest.mark.parametrize("year", YEARS)
def test_the_zip_holds_what_the_evaluator_reads_and_no_development_file(year, tmp_path, command):
    run = run_of(tmp_path / "run", year)
    status, out, err = command(
        asd_jax.submit, f"--workdir={run}", f"--year={year}", "--label=Lovelace_AEC"
    )
    assert status == 0, err
    of = edition(year)
    sections = sum(map(len, of.evaluation.values()))
    # The edition of 2021 has a file for each domain.
    own = 2 * sections * (2 if year == 2021 else 1)
    left = len(list(run.glob("scores/*.csv"))) - own
    assert f"  left out, as not of the evaluation set of {year}: {left} files\n" in out
    assert out.endswith(f"wrote {run / 'submission.zip'}\n")
    # The lists of two editions name no common number of clips.
    assert ("incomplete" in out) == (of.clips > 0)
    with zipfile.ZipFile(run / "submission.zip") as archive:
        assert len(archive.infolist()) == own + 1
        for one in archive.infolist():
            assert one.date_time == (1980, 1, 1, 0, 0, 0)
            assert one.compress_type == zipfile.ZIP_DEFLATED
            assert one.external_attr == 0o644 << 16  # everybody may read it
        archive.extractall(tmp_path / "out")
    folder = tmp_path / "out" / "task2" / "Lovelace_AEC_task2_1"
    clips = read_submission(folder, complete=year > 2020)
    there = {(clip.machine, clip.section) for clip in clips}
    assert there == {(m, s) for m, of in edition(year).evaluation.items() for s in of}
    for path in folder.glob("*.csv"):
        assert path.read_bytes() == (run / "scores" / path.name).read_bytes()
    meta = yaml.safe_load((folder / "Lovelace_AEC_task2_1.meta.yaml").read_text())
    assert meta["submission"]["label"] == "Lovelace_AEC_task2_1"
    assert set(meta["results"]["development_dataset"]) == set(edition(year).dev)
    assert f"{len(there)} sections, {len(clips)} clips, nothing wrong" in out


# The fields of system in the meta file of an entry of 2025 (github MeghanRN/dcase2025_beats_knn).
SYSTEM_2025 = {
    "description": {
        *("input_sampling_rate", "data_augmentation", "front_end", "acoustic_features"),
        *("embeddings", "machine_learning_method", "aggregation_method"),
        *("domain_adaptation_method", "domain_generalization_method"),
        *("ensemble_method_subsystem_count", "decision_making", "attribute_usage"),
        *("external_data_usage", "development_data_usage"),
    },
    "complexity": {"total_parameters", "MACS"},
    "external_datasets": None,
    "source_code": None,
}


def meta_of(run, year, command):
    """The meta file in the zip of a run."""
    assert command(asd_jax.submit, f"--workdir={run}", f"--year={year}")[0] == 0
    with zipfile.ZipFile(run / "submission.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".meta.yaml"))
        return yaml.safe_load(archive.read(name))


def test_the_meta_file_of_2025_has_the_fields_of_a_published_one(tmp_path, command):
    meta = meta_of(run_of(tmp_path / "run", 2025), 2025, command)
    assert set(meta) == {"submission", "system", "results"}
    assert set(meta["submission"]) == {"label", "name", "abbreviation", "authors"}
    own = {key: set(value) if value else None for key, value in meta["system"].items()}
    assert own == SYSTEM_2025
    columns = {tuple(found) for found in meta["results"]["development_dataset"].values()}
    assert columns == {("auc_source", "auc_target", "pauc")}


def test_results_have_the_years_names_and_are_in_percent(tmp_path, command):
    said = {}
    for year in (2020, 2021, 2022, 2025):
        meta = meta_of(run_of(tmp_path / str(year), year), year, command)
        said[year] = meta["results"]["development_dataset"]["fan"]
    assert said[2020] == {"averaged_auc": 50.0, "averaged_pauc": 60.0}
    assert said[2021] == {"harmonic_mean_auc": 33.33, "harmonic_mean_pauc": 60.0}  # of 50 and 25
    assert said[2022]["harmonic_mean_auc_target"] == 25.0
    assert said[2025] == {"auc_source": 50.0, "auc_target": 25.0, "pauc": 60.0}


def test_what_is_to_be_filled_in_is_said_until_it_is(tmp_path, command):
    run = run_of(tmp_path / "run", 2025)
    flags = f"--workdir={run}", "--year=2025"
    out = command(asd_jax.submit, *flags)[1]
    for field in ("submission.name", "submission.authors[0].email", "--label"):
        assert f"to fill in: {field}\n" in out
    (tmp_path / "authors.yaml").write_text(yaml.safe_dump(AUTHORS))
    more = f"--authors={tmp_path}/authors.yaml", "--label=Lovelace_AEC"
    assert "to fill in" not in command(asd_jax.submit, *flags, *more)[1]
    AUTHORS["submission"]["authors"][0]["corresponding"] = False
    (tmp_path / "authors.yaml").write_text(yaml.safe_dump(AUTHORS))
    assert "0 are marked corresponding" in command(asd_jax.submit, *flags, *more)[1]


def test_scores_of_another_model_are_packed_with_more_to_fill_in(tmp_path, command):
    run = run_of(tmp_path / "run", 2025)
    (run / "config.json").unlink()
    status, out, err = command(asd_jax.submit, f"--workdir={run / 'scores'}", "--year=2025")
    assert status == 0, err
    for field in ("description.machine_learning_method", "complexity.total_parameters"):
        assert f"to fill in: system.{field}\n" in out
    assert (run / "scores" / "submission.zip").exists()


def test_four_systems_and_a_report_make_one_zip_and_the_same_files_the_same_bytes(
    tmp_path, command
):
    runs = [f"--workdir={run_of(tmp_path / f'run_{n}', 2026)}" for n in range(4)]
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7\n")
    made = []
    for name in ("a.zip", "b.zip"):
        more = f"--report={tmp_path}/report.pdf", f"--output={tmp_path / name}"
        assert command(asd_jax.submit, *runs, "--year=2026", "--label=Lovelace_AEC", *more)[0] == 0
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    archive = zipfile.ZipFile(tmp_path / "a.zip")
    names = archive.namelist()
    report = "task2/Lovelace_AEC_task2.technical_report.pdf"
    assert archive.read(report) == b"%PDF-1.7\n"
    names.remove(report)
    assert {name.split("/")[1] for name in names} == {f"Lovelace_AEC_task2_{n}" for n in "1234"}
    status, _, err = command(asd_jax.submit, *runs, runs[0], "--year=2026")
    assert status == 2 and "5 systems; an entry has 1 to 4" in err
    status, _, err = command(asd_jax.submit, "--year=2026")
    assert status == 2 and "0 systems; an entry has 1 to 4" in err
    # The zip lies beside the first system.
    assert command(asd_jax.submit, *runs[:2], "--year=2026")[0] == 0
    assert [path.parent.name for path in tmp_path.rglob("submission.zip")] == ["run_0"]


def without_a_decision(run):
    (run / "scores" / "decision_result_ToyPet_section_00_test.csv").unlink()


def without_a_machine(run):
    for path in run.glob("scores/*Polisher*"):
        path.unlink()


def with_nan(run):
    path = run / "scores" / "anomaly_score_ToyPet_section_00_test.csv"
    path.write_text("section_00_0000.wav,nan\n")


def without_wav(run):
    """The evaluators since 2023 look clips up by their released names, and then sort them."""
    path = run / "scores" / "anomaly_score_ToyPet_section_00_test.csv"
    path.write_text(path.read_text().replace(".wav", ""))


def without_scores(run):
    shutil.rmtree(run / "scores")


FAULTS = {
    without_a_decision: "decision_result_ToyPet_section_00_test.csv: missing",
    without_a_machine: "no anomaly scores of Polisher section 00",
    with_nan: "is no finite number",
    without_wav: "lacks the clip's ending .wav",
    without_scores: "no anomaly scores of",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_an_evaluator_would_refuse_is_refused_and_no_zip_is_left(fault, tmp_path, command):
    run = run_of(tmp_path / "run", 2025)
    fault(run)
    status, _, err = command(asd_jax.submit, f"--workdir={run}", "--year=2025")
    assert status == 2 and FAULTS[fault] in err and "Traceback" not in err
    assert "task2" not in err.replace("_task2", "")  # the folder of the run is named, no copy
    assert not (run / "submission.zip").exists()


def test_a_section_with_fewer_clips_than_the_evaluation_set_is_incomplete(tmp_path, command):
    out = command(asd_jax.submit, f"--workdir={run_of(tmp_path / 'a', 2025)}", "--year=2025")[1]
    assert out.count("incomplete:") == 8 and "AutoTrash section 00: 8 clips of 200" in out
    whole = run_of(tmp_path / "b", 2025, clips=100)
    assert "incomplete" not in command(asd_jax.submit, f"--workdir={whole}", "--year=2025")[1]


def test_clips_renamed_with_their_labels_are_refused(tmp_path, command):
    run = run_of(tmp_path / "run", 2025, label="source_test_normal_")
    for path in run.glob("scores/*.csv"):
        # Every second clip is an anomaly.
        rows = path.read_text().splitlines()
        rows[::2] = [row.replace("normal", "anomaly") for row in rows[::2]]
        path.write_text("\n".join(rows) + "\n")
    status, _, err = command(asd_jax.submit, f"--workdir={run}", "--year=2025")
    assert status == 2
    said = f"{run}/scores: 64 file names contain the label, as section_00_source_test_anomaly_0000"
    assert said in err and "names under which they were released" in err


@pytest.mark.parametrize(("year", "allowed"), [(2020, True), (2021, False)])
def test_only_the_edition_of_2020_has_no_decisions(year, allowed, tmp_path):
    run = run_of(tmp_path / "run", year)
    for path in run.glob("scores/decision_result*"):
        path.unlink()
    if allowed:
        submit([run], year, label="Lovelace_AEC")
    else:
        with pytest.raises(InputError, match="decision_result_.*missing"):
            submit([run], year, label="Lovelace_AEC")


def test_the_fields_of_the_authors_win_but_for_the_label_and_stay_as_they_are_written(tmp_path):
    run = run_of(tmp_path / "run", 2025)
    long = "a description of ninety-five letters, which is more than eighty and less than a hundred"
    fields = {"submission": {"label": "mine", "name": "Ærø"}, "system": {"source_code": long}}
    (tmp_path / "authors.yaml").write_text(yaml.safe_dump(fields))
    path = submit([run], 2025, label="Lovelace_AEC", authors=str(tmp_path / "authors.yaml"))
    name = "Lovelace_AEC_task2_1"
    text = zipfile.ZipFile(path).read(f"task2/{name}/{name}.meta.yaml").decode()
    # In the order of the organisers' example, readable, and without folds of usual lines.
    assert text.startswith(f"submission:\n  label: {name}\n  name: Ærø\n")
    assert f"  source_code: {long}\n" in text


def test_a_file_of_authors_is_read_whole_or_refused(tmp_path, monkeypatch):
    authors = tmp_path / "authors.yaml"
    authors.write_text("a: b\n" + "#" * (1 << 20))
    with pytest.raises(InputError, match="authors.yaml: more than 1048576 bytes"):
        _read_yaml(str(authors))
    authors.write_text("a: b\n")
    monkeypatch.setattr("asd_jax.run.submit.LARGEST_YAML", 5)
    assert _read_yaml(str(authors)) == {"a": "b"}


def test_fields_are_put_into_their_sections():
    ours = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "f": {"g": 4}}
    theirs = {"a": {"c": {"d": 5}, "h": 6}, "e": {"i": 7}, "f": 8, "j": 9}
    assert merged(ours, theirs) == {
        "a": {"b": 1, "c": {"d": 5}, "h": 6},
        "e": {"i": 7},
        "f": 8,
        "j": 9,
    }


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        submit([tmp_path / "run"], 2025, label="Lovelace_AEC", output=str(tmp_path))


def test_files_without_test_in_their_names_are_packed_under_the_names_of_the_evaluator(
    tmp_path, command
):
    run = run_of(tmp_path / "run", 2025)
    named = {path.name for path in (run / "scores").iterdir()}
    for path in (run / "scores").iterdir():
        path.rename(path.with_name(path.name.replace("_test.csv", ".csv")))
    assert command(asd_jax.submit, f"--workdir={run}", "--year=2025")[0] == 0
    packed = zipfile.ZipFile(run / "submission.zip").namelist()
    evaluation = {name for name in named if name.split("_")[2] in edition(2025).evaluation}
    assert {Path(name).name for name in packed if name.endswith(".csv")} == evaluation


def test_with_the_ground_truth_a_clip_without_a_score_is_refused(tmp_path, command):
    run = run_of(tmp_path / "run", 2025)
    lines = []
    for machine in edition(2025).evaluation:
        lines.append(machine)
        for n in range(9 if machine == "Polisher" else 8):
            kind = "normal" if n % 4 < 2 else "anomaly"
            domain = "source" if n % 2 else "target"
            lines.append(f"section_00_{n:04}.wav,section_00_{domain}_test_{kind}_{n:04}.wav")
    (tmp_path / "eval_data_list_2025.csv").write_text("\n".join(lines) + "\n")
    flags = f"--workdir={run}", "--year=2025", f"--ground_truth={tmp_path}"
    status, _, err = command(asd_jax.submit, *flags)
    assert status == 2 and "Polisher section 00: no score for section_00_0008.wav" in err
    text = (tmp_path / "eval_data_list_2025.csv").read_text()
    (tmp_path / "eval_data_list_2025.csv").write_text(
        text.replace("section_00_0008.wav,section_00_target_test_normal_0008.wav\n", "")
    )
    assert command(asd_jax.submit, *flags)[0] == 0


def test_a_workdir_that_is_not_there_is_named_and_not_made(tmp_path, command):
    status, _, err = command(asd_jax.submit, f"--workdir={tmp_path}/nowhere", "--year=2025")
    assert status == 2 and "nowhere: no such folder" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--year=2019"], "no edition of DCASE Task 2 of 2019"),
        (["--year=2025", "--label=me"], "expected Lastname_Institute"),
        (["--year=2025", "--authors={here}/list.yaml"], "expected fields, e.g. submission:"),
        (["--year=2025", "--report={here}/run/config.json"], "not a pdf file"),
        (["--year=2025", "--authors={here}/nowhere.yaml"], "not a readable yaml file"),
        (["--year=2025", "--authors={here}/run/results.json", "--output=/dev"], "/dev"),
    ],
)
def test_bad_flags_are_named(flags, said, tmp_path, command):
    run = run_of(tmp_path / "run", 2025)
    (tmp_path / "list.yaml").write_text("[1]")
    flags = [flag.format(here=tmp_path) for flag in flags]
    status, _, err = command(asd_jax.submit, f"--workdir={run}", *flags)
    assert status == 2 and said in err and "Traceback" not in err
