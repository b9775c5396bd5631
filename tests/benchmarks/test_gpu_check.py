import json
import sys

import pytest

from benchmarks import gpu_check


def test_what_is_off_the_cpu_is_said():
    off = {"float32": {"losses": 2e-2}, "bfloat16": {"losses": 2e-2}}
    found = {
        "values": {"off_cpu": {"float32": {"tokens": float("nan"), "gradients": 0.0}}},
        "curve": {"off_cpu": off},
        "repeat": {"digest": "a"},
        "again": {"digest": "b"},
        "throughput": {"error": "exit status 1"},
    }
    assert gpu_check.mistakes(found) == [
        "throughput: exit status 1",
        "values: tokens in float32 are nan off, above 0.0001",
        "curve: losses in float32 are 2.0e-02 off, above 0.01",
        "again: not bit for bit the same under --xla_gpu_deterministic_ops=true",
    ]
    found["again"] = {"digest": "a"}
    assert gpu_check.mistakes({name: found[name] for name in ("repeat", "again")}) == []


def test_a_part_that_fails_is_kept_and_the_others_go_on(tmp_path, command, monkeypatch):
    def script(text):
        return lambda minutes: [sys.executable, "-c", text]

    late = script("raise AssertionError('was to be left out')")
    parts = {"values": script("raise SystemExit('no room')"), "curve": script("print(1)")}
    monkeypatch.setattr(gpu_check, "_commands", lambda: parts)
    status, out, _ = command(gpu_check, f"--output={tmp_path}")
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert status == 1 and "wrong after" in out
    assert found["values"]["error"] == "exit status 1, see values.log: no room"
    assert found["curve"]["seconds"] >= 0 and "error" not in found["curve"]
    monkeypatch.setattr(gpu_check, "_commands", lambda: {"curve": late})
    status, out, _ = command(gpu_check, f"--output={tmp_path}", "--minutes=-1")
    assert "curve: left out for lack of time" in out
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert found["verdict"]["left_out"] == ["curve"] and "seconds" in found["curve"]


@pytest.mark.slow
def test_the_whole_call_in_miniature(tmp_path, command):
    status, out, _ = command(gpu_check, "--miniature", f"--output={tmp_path}", "--minutes=60")
    assert status == 0, out
    assert out.splitlines()[-1].startswith("right after")
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert list(found) == [*gpu_check.PARTS, "throughput", "sweep", "verdict"]
    # the CPU against itself
    assert found["values"]["off_cpu"]["bfloat16"] == {"tokens": 0.0, "gradients": 0.0}
    assert found["curve"]["off_cpu"]["float32"] == {"losses": 0.0}
    assert len(found["curve"]["losses"]["cpu float32"]) == 3
    assert found["repeat"]["digest"] == found["again"]["digest"]
    (speed,) = tmp_path.glob("throughput_*.json")
    groups = json.loads(speed.read_text())["groups"]
    assert {group["batch"] for group in groups} == {1, 2}
