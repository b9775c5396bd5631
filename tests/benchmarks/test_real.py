"""The table over folders of recordings, on small sets made of the factory."""

import json
import shutil
import sys
import types

import numpy as np
import pytest

import benchmarks.leaderboard
import benchmarks.real
from asd_jax.config import RunConfig
from asd_jax.data.clips import find_clips
from asd_jax.data.factory import write_factory
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from benchmarks.real import config_of, edition_of, markdown, rows_of, scorable, sets_below

SIZES = {"train_source": 5, "train_target": 2, "test_per_condition": 3, "clip_seconds": 0.5}


@pytest.fixture
def root(tmp_path):
    """Sets with both domains, with one domain, with one unlabelled machine, and no set."""
    root = tmp_path / "sets"
    write_factory(root / "both", machines=["fan", "gearbox"], **SIZES)
    write_factory(root / "one_domain", machines=["fan"], **SIZES)
    for path in root.glob("one_domain/fan/*/*_target_*"):
        path.unlink()
    shutil.copytree(root / "both", root / "unlabelled")
    for path in root.glob("unlabelled/gearbox/test/*_anomaly_*"):
        path.unlink()
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("no sound")
    return root


def test_each_set_gets_the_machines_the_length_and_the_rule_that_fit_it(root, capsys):
    found = sets_below(root, RunConfig())
    assert list(found) == ["both", "one_domain", "unlabelled"]
    assert [config.data.year for config in found.values()] == [2024, 2020, 2024]
    assert [config.data.machines for config in found.values()] == ["fan,gearbox", "fan", "fan"]
    assert {config.data.clip_seconds for config in found.values()} == {0.5}
    said = " ".join(capsys.readouterr().out.split())
    assert "notes: left out (" in said
    assert "left out, not every test clip is labelled: gearbox" in said
    short = with_values(RunConfig(), {"data.clip_seconds": 0.3, "data.machines": "gearbox"})
    assert list(sets_below(root, short)) == ["both"]
    assert sets_below(root, short, ["both"])["both"].data.clip_seconds == 0.3


def test_sets_that_cannot_be_scored_are_named(root):
    with pytest.raises(InputError, match="--root=.*nowhere: no such folder"):
        sets_below(root / "nowhere", RunConfig())
    with pytest.raises(InputError, match="--sets=fans: not in .*; there: both, notes, one_domain"):
        sets_below(root, RunConfig(), ["both", "fans"])
    with pytest.raises(InputError, match="notes"):
        sets_below(root, RunConfig(), ["notes"])
    with pytest.raises(InputError, match="no set of machines with labelled test clips below it"):
        sets_below(root / "notes", RunConfig())
    for path in root.glob("one_domain/fan/test/*_anomaly_*"):
        path.unlink()
    with pytest.raises(InputError, match="no machine has labelled test clips"):
        scorable(find_clips(root / "one_domain"))


def test_recordings_of_another_edition_are_scored_by_that_edition(root):
    assert edition_of(["fan", "my_pump"], 2024) == 2024
    assert edition_of(["ToyDrone"], 2024) == 2026
    assert edition_of(["ToyDrone", "Vacuum"], 2024) == 2023
    assert edition_of(["ToyDrone", "HairDryer"], 2024) == 2024  # together in no edition
    (root / "both" / "gearbox").rename(root / "both" / "ToyDrone")
    assert config_of(RunConfig(), root / "both").data.year == 2026


def test_random_weights_have_the_sizes_and_the_front_end_of_the_package():
    rows = rows_of(["runs/a/weights.safetensors", "runs/b/weights.safetensors"], ["m:f"], ["knn"])
    names = [row.name for row in rows]
    assert names[:3] == ["filter bank", "random weights", "encoder of the package"]
    assert len(set(names)) == 6
    several = rows_of([], ["m:f"], ["knn", "gmm"])
    assert [row.name for row in several][-2:] == ["m:f, knn", "m:f, gmm"]
    assert [row.settings["scoring.back_end"] for row in several[1:]] == ["knn", "gmm"] * 3


def compared_row(score, year=2024):
    return {
        "official_score": score,
        "deviation": None,
        "interval": [score - 0.1, score + 0.1],
        "machines": {"fan 00": {"auc_source": 0.9, "pauc": 0.5}, "pump 00": {"auc_source": 0.7}},
    }


def test_the_mean_is_over_sets_with_both_domains():
    made = {"device": "CPU", "date": "2026-01-01", "commit": "abc", "command": "python -m x"}
    found = {
        "a": {"year": 2024, "cells": {"knn": compared_row(0.5)}},
        "b": {"year": 2024, "cells": {"knn": compared_row(0.7)}},
        "c": {"year": 2020, "cells": {"knn": compared_row(0.9)}},
    }
    lines = markdown(found, made).splitlines()
    assert lines[3] == "| | mean of 2 | a | b | c |"
    assert lines[-1].startswith("| knn | 60.00 | 50.00 [40.00, 60.00] (.800/.500) | 70.00 [")
    assert "| knn | - |" in markdown({"c": found["c"]}, made)
    found["b"]["cells"]["gmm"] = compared_row(0.8)  # not scored on the others
    assert markdown(found, made).splitlines()[-1].startswith("| gmm | - | - | 80.00 [")


@pytest.mark.slow
def test_one_command_compares_all_systems_on_all_sets_and_continues(
    command, root, tmp_path, monkeypatch, encoder_file
):
    module = types.ModuleType("fake_encoders")
    module.level = lambda waves, rate: np.abs(waves).reshape(len(waves), 10, -1).mean(-1)
    monkeypatch.setitem(sys.modules, "fake_encoders", module)
    output = tmp_path / "out"
    flags = [f"--root={root}", f"--output={output}", f"--weights={encoder_file}", "--seeds=2"]
    flags += ["--encoder=fake_encoders:level", "--config.data.level=normalize"]
    status, out, err = command(benchmarks.real, *flags)
    assert status == 0, err
    written = (output / "real.json").read_bytes()
    found = json.loads(written)
    assert list(found) == ["both", "one_domain", "unlabelled"]
    rows = {"filter bank", "random weights", "encoder of the package", str(encoder_file)}
    for of in found.values():
        assert set(of["cells"]) == rows | {"fake_encoders:level"}
        assert of["cells"]["random weights"]["deviation"] is not None
    table = (output / "real.md").read_text()
    assert table.splitlines()[-1] in out and "| | mean of 2 | both | one_domain |" in table
    next(output.glob("sets/both/cells/*/seed_0/seconds.json")).unlink()
    assert command(benchmarks.real, *flags)[0] == 0
    assert (output / "real.json").read_bytes() == written
    # The leaderboard marks the rows of recordings that may not be redistributed.
    results = tmp_path / "results"
    benchmarks.leaderboard.add(output, "own motors", True, results)
    kept = [json.loads(path.read_text()) for path in results.glob("*.json")]
    assert len(kept) == 3 and all(one["internal"] for one in kept)
    assert command(benchmarks.real, *flags, "--encoder=none:f")[0] == 2
