"""Hostile headers: a small share of benchmarks.fuzz_headers, and its own judgement."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asd_jax.runtime.errors import InputError
from benchmarks.fuzz_headers import Deeds, outcome


def test_what_breaks_the_rule_is_told(tmp_path):
    path = tmp_path / "a.npz"

    def refuses(path):
        raise InputError(f"{path}: no")

    def forgets(path):
        raise InputError("no")

    def breaks(path):
        raise IndexError("list index out of range")

    assert outcome(refuses, path) == ("refused", "")
    assert outcome(str, path) == ("loaded", "")
    assert "does not name" in outcome(forgets, path)[1]
    assert outcome(breaks, path)[1].startswith("IndexError")


def test_what_is_written_or_started_is_told(tmp_path):
    deeds = Deeds()
    with deeds:
        (tmp_path / "a").write_text("x")
        os.rename(tmp_path / "a", tmp_path / "b")
        (tmp_path / "b").read_text()
    assert len(deeds.done) == 2 and "for writing" in deeds.done[0] and "os.rename" in deeds.done[1]
    (tmp_path / "c").write_text("x")
    with deeds:
        assert not deeds.done


@pytest.mark.slow
def test_1000_hostile_files_load_or_raise_the_one_error(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_headers", "--cases=1000", f"--output={tmp_path}"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    result = json.loads((tmp_path / "fuzz_headers.json").read_text())
    assert result["broken"] == [] and result["cases"] == 1000
    for kind in ("weights", "detector", "npz", "json", "torch"):
        assert result[f"{kind} loaded"] and result[f"{kind} refused"] > 50
