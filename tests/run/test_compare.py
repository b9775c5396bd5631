"""The table of several runs."""

import csv
import json

import pytest

import asd_jax.compare
from asd_jax.config import RunConfig
from asd_jax.run.compare import compare_runs, finished_runs
from asd_jax.runtime.errors import InputError
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
    assert "official score, %" in out
    head = ["run", "year", "official score", "deviation", "ensemble"]
    assert cells(out) == [
        [*head, "features.spacing", "optimizer.epochs"],
        ["even/long", "2024", "70.00", "1.00", "75.00", "even", "9"],
        ["mel", "2024", "60.00", "-", "-", "mel", "10"],
        ["unlabelled", "2024", "-", "-", "-", "even", "10"],
    ]
    runs = f"--scores={tmp_path}/runs/even/long/scores --against={tmp_path}/runs/mel/scores"
    assert f"{runs} --year=2024" in out and out.endswith(f"wrote {tmp_path / 'table.csv'}\n")
    assert b"\r" not in (tmp_path / "table.csv").read_bytes()
    assert list(csv.DictReader((tmp_path / "table.csv").open()))[0].keys() == {
        *("run", "year", "official_score", "deviation", "ensemble", "fan"),
        *("features.spacing", "optimizer.epochs"),
    }
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["run"] for row in rows] == ["even/long", "mel", "unlabelled"]
    assert [row["official_score"] for row in rows] == ["0.7", "0.6", ""]
    assert [row["features.spacing"] for row in rows] == ["even", "mel", "even"]
    assert rows[0]["fan"] == "0.5" and rows[0]["ensemble"] == "0.75"


def cells(out):
    """The cells of the rows of a table on the screen."""
    lines = [line.replace("┃", "│").strip("│") for line in out.splitlines() if line[:1] in "│┃"]
    return [[cell.strip() for cell in line.split("│")] for line in lines]


def shown(capsys, *folders):
    compare_runs(list(folders))
    out = capsys.readouterr().out
    return out, cells(out)


def test_a_run_alone_has_its_folders_name_and_nothing_to_compare_with(tmp_path, capsys):
    run_of(tmp_path / "mine", 0.6)
    out, rows = shown(capsys, tmp_path / "mine")
    assert rows == [["run", "year", "official score"], ["mine", "2024", "60.00"]]
    assert "--against" not in out and "wrote" not in out


def test_two_runs_are_compared_if_both_have_a_score(tmp_path, capsys):
    run_of(tmp_path / "a", 0.6)
    run_of(tmp_path / "b", 0.7)
    run_of(tmp_path / "c", None)
    out, rows = shown(capsys, tmp_path / "a", tmp_path / "b")
    assert [row[0] for row in rows[1:]] == ["b", "a"]
    assert f"--scores={tmp_path}/b/scores --against={tmp_path}/a/scores" in out
    out, _ = shown(capsys, tmp_path / "a", tmp_path / "c")
    assert "--against" not in out


def test_a_score_of_zero_stands_above_none(tmp_path, capsys):
    for name, score in (("a", None), ("b", 0.01), ("c", None), ("d", 0.9)):
        run_of(tmp_path / name, score)
    _, rows = shown(capsys, tmp_path)
    assert [row[0] for row in rows[1:]] == ["d", "b", "a", "c"]


def test_the_year_is_that_of_the_best_run_and_a_key_that_one_lacks_is_a_dash(tmp_path, capsys):
    run_of(tmp_path / "old", 0.6)
    run_of(tmp_path / "new", 0.7)
    results = json.loads((tmp_path / "new" / "results.json").read_text())
    (tmp_path / "new" / "results.json").write_text(json.dumps(results | {"year": 2023}))
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["features"]["spacing"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    out, rows = shown(capsys, tmp_path)
    assert "--year=2023" in out
    assert rows[1:] == [["new", "2023", "70.00", "even"], ["old", "2024", "60.00", "-"]]


def test_embeddings_of_another_model_are_described_by_their_scoring_and_their_baseline(
    tmp_path, capsys
):
    for name, score, k in (("a", 0.6, 1), ("b", 0.7, 2)):
        run_of(tmp_path / name, score)
        (tmp_path / name / "config.json").unlink()
        path = tmp_path / name / "results.json"
        more = {"scoring": {"k": k}}
        if name == "a":
            more["filter_bank_baseline"] = {"official_score": 0.5}
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    _, rows = shown(capsys, tmp_path)
    assert rows == [
        ["run", "year", "official score", "filter bank", "scoring.k"],
        ["b", "2024", "70.00", "-", "2"],
        ["a", "2024", "60.00", "50.00", "1"],
    ]


def test_runs_are_found_in_the_order_of_their_names_and_none_below_a_run(tmp_path):
    for name in ("b/y", "b/x", "a", "c/z", "a/inner"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "results.json").write_text("{}")
    names = [path.relative_to(tmp_path).as_posix() for path in finished_runs(tmp_path)]
    assert names == ["a", "b/x", "b/y", "c/z"]
    assert finished_runs(tmp_path / "a") == [tmp_path / "a"]


def test_a_table_that_cannot_be_written_is_refused_before_any_run_is_read(tmp_path, capsys):
    run_of(tmp_path / "a", 0.6)
    with pytest.raises(InputError, match="cannot be written"):
        compare_runs([tmp_path / "a"], tmp_path)
    assert not capsys.readouterr().out


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
