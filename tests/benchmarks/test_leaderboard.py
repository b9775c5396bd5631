"""The leaderboard holds what the grids left, and says which rows are internal."""

import json
import sys

import pytest

import benchmarks.leaderboard
from benchmarks.provenance import provenance


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--output=/home/me/out"], "--output=out"),
        (["--output", "/home/me/out/"], "--output out"),
        (["--output=/home/me/my data,1/a=b/out"], "--output=out"),
        (
            ["--weights=c/d.st,/home/me/a.st,../me/b_{seed}.st"],
            "'--weights=c/d.st,a.st,b_{seed}.st'",
        ),
        (
            ["--config=/home/me/base.py:smoke", "--row=local, tile 16 x 16"],
            "--config=base.py:smoke '--row=local, tile",
        ),
    ],
)
def test_commands_can_be_given_again_and_do_not_tell_where_files_lie(monkeypatch, given, kept):
    monkeypatch.setattr(sys, "argv", ["benchmarks/simam.py", *given])
    said = provenance()["command"]
    assert said.startswith(f"python -m benchmarks.simam {kept}") and "me/" not in said


def test_finished_grids_become_rows_with_where_they_come_from(command, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    cell = {
        "official_score": 0.5,
        "deviation": None,
        "interval": [0.4, 0.6],
        "verdict": "worse",
        "machines": {},
    }
    better = {**cell, "official_score": 0.75, "deviation": 0.01, "verdict": "the reference"}
    table = {"year": 2024, "seeds": 4, "reference": "b", "cells": {"a": cell, "b": better}}
    made = {
        "command": "python -m benchmarks.simam",
        "commit": "abc1234",
        "date": "2026-01-01",
        "device": "cpu",
    }
    (run / "simam.json").write_text(json.dumps(table))
    (run / "timing.json").write_text(json.dumps(made))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- leaderboard -->\nold\n<!-- end of leaderboard -->\nafter\n")
    flags = [f"--readme={readme}", f"--results={tmp_path / 'results'}"]
    status, _, err = command(
        benchmarks.leaderboard, f"--add={run}", "--data=drone", "--internal", *flags
    )
    assert status == 0, err
    text = readme.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| drone")]
    assert rows[0].startswith(
        "| drone, internal | b | 75.00 ± 1.00 | 40.00 to 60.00 | the reference | 4 | cpu | abc1234"
    )
    assert (
        len(rows) == 2
        and "old" not in text
        and text.startswith("before")
        and text.endswith("after\n")
    )
    assert "`python -m benchmarks.simam`" in text
    assert command(benchmarks.leaderboard, *flags)[0] == 0 and readme.read_text() == text


def test_what_is_no_finished_grid_is_refused(command, tmp_path):
    flags = [f"--readme={tmp_path / 'README.md'}", f"--results={tmp_path / 'results'}"]
    assert (
        "no timing.json"
        in command(benchmarks.leaderboard, f"--add={tmp_path}", "--data=x", *flags)[2]
    )
    assert "--data=" in command(benchmarks.leaderboard, f"--add={tmp_path}", *flags)[2]
    (tmp_path / "timing.json").write_text('{"training_seconds": 1}')  # a run's
    assert (
        "no table; " in command(benchmarks.leaderboard, f"--add={tmp_path}", "--data=x", *flags)[2]
    )
