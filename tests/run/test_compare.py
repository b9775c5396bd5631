"""The table of several runs."""

import csv
import json

import pytest

import asd_jax.compare
from asd_jax.config import RunConfig
from asd_jax.runtime.settings import to_dict

SECTION = {"auc_source": 0.5, "auc_target": 0.5, "pauc": 0.5}


def run_of(folder, score, *, seeds=None, **changes):
    """A finished run, as far as the table reads it."""
    folder.mkdir(parents=True)
    config = to_dict(RunConfig())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    (folder / "config.json").write_text(json.dumps(config))
    results = {"official_score": score, "year": 2024, "machines": {"fan": {"00": SECTION}}}
    if seeds:
        results["standard_deviation"] = {"official_score": 0.01}
        results["ensemble"] = {"official_score": 0.75}
        for seed in range(seeds):
            run_of(folder / f"seed_{seed}", score)
    (folder / "results.json").write_text(json.dumps(results))


def test_runs_come_best_first_with_the_settings_in_which_they_differ(tmp_path, command):
    run_of(tmp_path / "runs" / "mel", 0.6, features__spacing="mel", report__clips=3)
    run_of(tmp_path / "runs" / "even" / "long", 0.7, seeds=2, optimizer__epochs=9)
    run_of(tmp_path / "runs" / "unlabelled", None)
    flags = f"--runs={tmp_path}/runs", f"--csv={tmp_path}/table.csv"
    status, out, err = command(asd_jax.compare, *flags)
    assert status == 0, err
    for words in ("70.00", "1.00", "75.00", "60.00", "mel", "optimizer.epochs"):
        assert words in out
    assert "report.clips" not in out and "seed_0" not in out
    assert f"--scores={tmp_path}/runs/even/long/scores --against={tmp_path}/runs/mel/scores" in out
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["run"] for row in rows] == ["even/long", "mel", "unlabelled"]
    assert [row["official_score"] for row in rows] == ["0.7", "0.6", ""]
    assert [row["features.spacing"] for row in rows] == ["even", "mel", "even"]
    assert rows[0]["fan"] == "0.5" and rows[0]["ensemble"] == "0.75"


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "no finished run here or below"),
        ("{}", "not the results of a run"),
        ('{"year": 2024, "machines": [], "official_score": 1}', "not the results of a run"),
    ],
)
def test_what_is_no_run_is_named(content, said, tmp_path, command):
    if content:
        (tmp_path / "results.json").write_text(content)
    status, _, err = command(asd_jax.compare, f"--runs={tmp_path}")
    assert status == 2 and said in err and "Traceback" not in err
