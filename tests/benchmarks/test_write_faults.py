"""Calls that fail one after another: the shim itself, and sweeps of what costs little."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asd_jax.config import PretrainConfig, RunConfig, described
from asd_jax.runtime.errors import InputError
from benchmarks import fault_cases
from benchmarks.faults import Kind
from benchmarks.write_faults import kinds_named

ROOT = Path(__file__).parents[2]


def sweep(folder, scenarios, *flags):
    """Runs the command; gives its status, what it printed, and its result."""
    command = [sys.executable, "-m", "benchmarks.write_faults", f"--output={folder}", *flags]
    done = subprocess.run(
        [*command, f"--scenarios={scenarios}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    result = folder / "write_faults.json"
    return done, json.loads(result.read_text()) if result.exists() else done.stderr


def test_a_file_and_a_lock_outlive_the_failure_of_every_call(tmp_path):
    done, result = sweep(tmp_path, "one file,lock", "--kinds=broken,killed", "--distinct")
    assert done.returncode == 0, done.stdout
    assert result["defects"] == 0 and result["cases"] > 40
    one = result["scenarios"]["one file"]
    assert one["calls"] == 11 and one["kinds"]["killed"]["ends"] == {"killed": 11}
    assert one["kinds"]["broken"]["ends"] == {"refused": 10, "done": 1}


def test_the_sweep_finds_a_half_written_file_and_a_traceback(tmp_path):
    """What a scenario that writes in place would show."""
    code = """
import sys
from benchmarks import fault_scenarios, faults, write_faults
def careless(folder):
    (folder / "out").write_text("x" * 1000)
fault_scenarios.SCENARIOS["careless"] = fault_scenarios.Scenario(lambda folder: None, careless)
from asd_jax.runtime.command import run
faults.restart(sys.orig_argv[1:])
run(write_faults.main, write_faults.define_flags)
"""
    command = [sys.executable, "-c", code, "--scenarios=careless", "--kinds=full,killed"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "FULL at 2 (write out): first run: " in done.stdout and "No space left" in done.stdout
    assert "KILLED at 2 (write out): first run: out is neither the old file" in done.stdout


def test_the_commands_of_the_scenarios_set_keys_that_exist():
    text = (ROOT / "benchmarks" / "fault_runs.py").read_text()
    keys = set(re.findall(r"--config\.([\w.]+)=", text))
    known = {name for config in (RunConfig(), PretrainConfig()) for name, *_ in described(config)}
    assert "backbone.cache_tokens" in keys and keys <= known


def test_a_file_that_vanishes_while_files_are_listed_is_not_there(tmp_path, monkeypatch):
    """Checkpoints are written by threads, which remove their locks when a run has ended."""
    for name in ("kept", "lock"):
        (tmp_path / name).write_bytes(b"")
    content = fault_cases._content

    def vanishing(path):
        if path.name == "lock":
            path.unlink()
        return content(path)

    monkeypatch.setattr(fault_cases, "_content", vanishing)
    assert list(fault_cases.files_of(tmp_path)) == ["kept"]


def test_an_unknown_kind_of_fault_is_refused():
    assert kinds_named(["killed", "once"]) == (Kind.ONCE, Kind.KILLED)
    with pytest.raises(InputError, match="--kinds: no twice; known: once, full, broken, killed"):
        kinds_named(["killed", "twice"])


@pytest.mark.slow
def test_store_cache_factory_and_download_outlive_the_failure_of_calls(tmp_path):
    names = "store,recorder,clip cache,factory,download"
    done, result = sweep(tmp_path, names, "--distinct")
    assert done.returncode == 0, done.stdout
    assert result["defects"] == 0 and result["cases"] > 400
