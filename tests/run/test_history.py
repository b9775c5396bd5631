"""Claims about `detect trend` and `detect alarms`."""

import csv
import json

import numpy as np
import pytest

from asd_jax import detect
from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.export import clock
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture
def path(tmp_path):
    with Store(tmp_path / "plant.db") as store:
        cases.raise_case(store, "pump", Occurrence(NOW, 3.0, 2.0, "in its level, +6 dB"))
        cases.clear_case(store, "pump", NOW + 60, 4.0)
        cases.raise_case(store, "fan", Occurrence(NOW + 90, 9.0, 2.0))
        cases.acknowledge(store, 2, NOW + 100, "Ann", "belt; ordered")
        cases.clear_case(store, "fan", NOW + 120, 9.0)
    return tmp_path / "plant.db"


def call(capsys, *argv):
    """Returns what a subcommand prints on its standard output."""
    args = detect.parser().parse_args([*map(str, argv)])
    assert not args.command(args)
    return capsys.readouterr().out


def test_list_shows_open_cases_or_all(path, capsys):
    out = call(capsys, "alarms", "list", f"--store={path}")
    assert "pump" in out and "cleared" in out and "+6 dB" in out and "fan" not in out
    lines = call(capsys, "alarms", "list", f"--store={path}", "--state=all", "--json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["machine"], row["state"]) for row in rows] == [
        ("fan", "closed"),
        ("pump", "cleared"),
    ]
    assert rows[0]["acknowledged_by"] == "Ann" and rows[1]["peak"] == 4.0


def test_ack_closes_a_cleared_case(path, capsys):
    out = call(capsys, "alarms", "ack", f"--store={path}", 1, "--by=Bob", "--note=greased")
    assert "closed" in out and "Bob: greased" in out
    with pytest.raises(InputError, match="acknowledged already"):
        call(capsys, "alarms", "ack", f"--store={path}", 1)


def test_a_shelved_machine_is_shown_as_such(path, capsys):
    assert "until" in call(capsys, "alarms", "shelve", f"--store={path}", "pump", "--hours=8")
    assert "shelved" in call(capsys, "alarms", "list", f"--store={path}")
    call(capsys, "alarms", "unshelve", f"--store={path}", "pump")
    assert "shelved" not in call(capsys, "alarms", "list", f"--store={path}")


def test_export_writes_csv_that_reads_back(path, capsys, tmp_path):
    output = tmp_path / "cases.csv"
    call(capsys, "alarms", "export", f"--store={path}", f"--output={output}")
    rows = list(csv.DictReader(output.open()))
    assert [row["case"] for row in rows] == ["2", "1"] and rows[0]["note"] == "belt; ordered"


def test_export_writes_labels_for_audacity(path, capsys, tmp_path):
    output = tmp_path / "labels.txt"
    start = clock(NOW - 30)
    argv = ("alarms", "export", f"--store={path}", f"--output={output}", "--format=audacity")
    call(capsys, *argv, f"--start={start}")
    assert output.read_text().splitlines() == [
        "30.000000\t90.000000\tpump case 1: in its level, +6 dB",
        "120.000000\t150.000000\tfan case 2: score 9.00",
    ]
    with pytest.raises(InputError, match="--start belongs to --format=audacity"):
        call(capsys, *argv)
    with pytest.raises(InputError, match="no date and time"):
        call(capsys, *argv, "--start=yesterday")


def test_trend_names_what_rises_and_since_when(path, capsys):
    bands = np.full(10, -50.0)
    with Store(path) as store:
        rng = np.random.default_rng(0)
        for day in range(30):
            rise = 0.2 * max(day - 15, 0)
            bands[4] = -50 + 2 * rise + rng.normal(0, 0.1)
            level = -30 + rng.normal(0, 0.1)
            score = 0.5 + rise + rng.normal(0, 0.05)
            store.add("pump", Reading(NOW + DAY * (day + 0.5), 10.0, score, 4.0, level, bands))
    until = clock(NOW + 30 * DAY)
    lines = call(capsys, "trend", f"--store={path}", f"--until={until}").splitlines()
    assert lines[0].startswith("pump: score rising since ") and "reaches the thresh" in lines[0]
    assert lines[1].startswith("pump: level steady")
    assert [line for line in lines[2:] if "at 63 Hz rising" in line] == lines[2:] != []
    out = call(capsys, "trend", f"--store={path}", f"--until={until}", "--json").splitlines()
    assert json.loads(out[0])["direction"] == 1 and json.loads(out[1])["threshold"] is None


def test_wrong_names_are_refused(path, capsys, tmp_path):
    with pytest.raises(InputError, match="the store knows pump, fan"):
        call(capsys, "trend", f"--store={path}", "--machine=x")
    with pytest.raises(InputError, match="no such store"):
        call(capsys, "alarms", "list", f"--store={tmp_path / 'missing.db'}")
