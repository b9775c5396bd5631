"""Published entries of the challenge, packed again by the command."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import yaml

import asd_jax.submit
from asd_jax.config import RunConfig
from asd_jax.data.dcase import edition
from asd_jax.runtime.settings import to_dict


def run_of(entry, folder):
    """A run that has the entry's score files."""
    shutil.copytree(entry, folder / "scores", ignore=shutil.ignore_patterns("*.yaml"))
    (folder / "config.json").write_text(json.dumps(to_dict(RunConfig())))
    return folder


def keys(value, where=""):
    """The dotted names of the fields of a meta file, as deep as `system`'s."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield f"{where}{key}"
            yield from keys(below, f"{where}{key}.")


def test_an_entry_of_2022_is_packed_as_its_evaluator_reads_it(shared, tmp_path, command):
    entries = sorted((shared / "scores" / "2022_eval_Xiao_HEU-HIT").iterdir())
    assert len(entries) == 4
    runs = [run_of(entry, tmp_path / entry.name) for entry in entries]
    flags = "--year=2022", "--label=Xiao_HEU-HIT", f"--output={tmp_path}/entry.zip"
    truth = f"--ground_truth={shared}/scores/evaluator_2022"
    status, out, err = command(asd_jax.submit, *(f"--workdir={r}" for r in runs), *flags, truth)
    assert status == 0, err
    assert out.count("21 sections, 4200 clips, nothing wrong") == 4
    with zipfile.ZipFile(tmp_path / "entry.zip") as archive:
        archive.extractall(tmp_path)
    for entry in entries:
        packed = tmp_path / "task2" / f"Xiao_HEU-HIT_{entry.name}"
        wanted = {
            f"{kind}_{machine}_section_{section}_test.csv"
            for kind in ("anomaly_score", "decision_result")
            for machine, sections in edition(2022).evaluation.items()
            for section in sections
        }
        assert {path.name for path in packed.glob("*.csv")} == wanted
        for path in packed.glob("*.csv"):
            published = entry / path.name.replace("_test.csv", ".csv")
            assert path.read_bytes() == published.read_bytes()


def test_the_meta_file_has_the_fields_of_a_published_one(shared, tmp_path, command):
    """The published file has a slip in its list of authors, which no reader of yaml accepts."""
    entry = shared / "scores" / "2022_eval_Xiao_HEU-HIT" / "task2_1"
    text = (entry / "Xiao_HEU-HIT_task2_1.meta.yaml").read_text()
    published = yaml.safe_load(re.sub(r"(?s)\n  authors:.*?\n# System", "\n# System", text))
    run = run_of(entry, tmp_path / "run")
    assert command(asd_jax.submit, f"--workdir={run}", "--year=2022")[0] == 0
    with zipfile.ZipFile(run / "submission.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".meta.yaml"))
        ours = yaml.safe_load(archive.read(name))
    assert set(keys(published["system"])) == set(keys(ours["system"]))
    assert set(published["submission"]) <= set(ours["submission"])
    author = ours["submission"]["authors"][0]
    for field in (*author, *author["affiliation"]):
        assert re.search(rf"\b{field}:", text), field
    assert set(published) == set(ours)


def test_scores_under_labelled_names_are_no_entry(shared, tmp_path, command):
    run = run_of(shared / "scores" / "2023_eval_mageda_baseline" / "MSE", tmp_path / "run")
    status, _, err = command(asd_jax.submit, f"--workdir={run}", "--year=2023")
    assert status == 2 and "names under which they were released" in err
    assert not Path(run / "submission.zip").exists()
