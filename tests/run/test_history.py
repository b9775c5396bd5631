"""Claims about `detect trend` and `detect alarms`."""

import csv
import json

import numpy as np
import pytest

from asd_jax import detect
from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.export import clock, row_of
from asd_jax.monitoring.report import trends
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.run import history
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """The time of day, ten minutes after the first alarm."""
    monkeypatch.setattr(history.time, "time", lambda: NOW + 600)
    return NOW + 600


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
    # A line has what matters of a case.
    closed, cleared = call(capsys, "alarms", "list", f"--store={path}", "--state=all").splitlines()
    assert closed.split() == [
        *(
            "2",
            "fan",
            "closed",
            "since",
            *clock(NOW + 90).split(),
            "peak",
            "9.00",
            "of",
            "2.00",
            ";",
        ),
        *("Ann:", "belt;", "ordered"),
    ]
    assert cleared.endswith("peak 4.00 of 2.00  in its level, +6 dB")
    one = call(capsys, "alarms", "list", f"--store={path}", "--state=all", "--machine=fan")
    assert one.splitlines() == [closed]


def test_an_empty_list_is_said_beside_the_list(path, capsys):
    for flags, said in (
        (["--machine=fan"], "no open case"),
        (["--machine=valve", "--state=all"], "no case"),
        (["--machine=fan", "--json"], ""),
    ):
        args = detect.parser().parse_args(["alarms", "list", f"--store={path}", *flags])
        args.command(args)
        assert capsys.readouterr() == ("", f"{said}\n" if said else "")
    # Where there is a case, nothing else is said.
    args = detect.parser().parse_args(["alarms", "list", f"--store={path}"])
    args.command(args)
    assert not capsys.readouterr().err


def test_ack_closes_a_cleared_case(path, capsys):
    out = call(capsys, "alarms", "ack", f"--store={path}", 1, "--by=Bob", "--note=greased")
    assert "closed" in out and "Bob: greased" in out
    with pytest.raises(InputError, match="acknowledged already"):
        call(capsys, "alarms", "ack", f"--store={path}", 1)


def test_a_shelved_machine_is_shown_as_such(path, capsys):
    flags = [f"--store={path}", "pump", "--hours=8", "--by=Ann"]
    until = NOW + 600 + 8 * 3600
    assert call(capsys, "alarms", "shelve", *flags) == f"pump: shelved until {clock(until)}\n"
    assert "shelved" in call(capsys, "alarms", "list", f"--store={path}")
    with Store(path) as store:
        (case,) = cases.cases(store, "pump")
        assert case.shelved_until == until
    flags = [f"--store={path}", "pump"]
    assert call(capsys, "alarms", "unshelve", *flags) == "pump: not shelved\n"
    assert "shelved" not in call(capsys, "alarms", "list", f"--store={path}")


def test_export_writes_csv_that_reads_back(path, capsys, tmp_path, now):
    output = tmp_path / "cases.csv"
    args = detect.parser().parse_args(["alarms", "export", f"--store={path}", f"--output={output}"])
    args.command(args)
    assert capsys.readouterr().err == f"wrote {output}: 2 cases\n"
    rows = list(csv.DictReader(output.open()))
    assert [row["case"] for row in rows] == ["2", "1"] and rows[0]["note"] == "belt; ordered"
    with Store(path) as store:
        for row, case in zip(rows, cases.cases(store), strict=True):
            assert row == {name: str(value) for name, value in row_of(case, now).items()}
    call(capsys, "alarms", "export", f"--store={path}", f"--output={output}", "--state=open")
    assert [row["case"] for row in csv.DictReader(output.open())] == ["1"]
    call(capsys, "alarms", "export", f"--store={path}", f"--output={output}", "--machine=fan")
    assert [row["case"] for row in csv.DictReader(output.open())] == ["2"]


def test_an_export_has_more_cases_than_a_screen_shows(path, capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cases, "cases", lambda *_, most, **__: asked.append(most) or [])
    call(capsys, "alarms", "export", f"--store={path}", f"--output={tmp_path / 'x'}")
    assert asked[0] >= 1_000_000


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
    with pytest.raises(InputError, match="--start belongs to --format=audacity"):
        call(capsys, *argv[:-1], f"--start={start}")
    with pytest.raises(InputError, match="no date and time"):
        call(capsys, *argv, "--start=yesterday")


def test_trend_names_what_rises_and_since_when(path, capsys, monkeypatch):
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
    found = [json.loads(line) for line in out]
    with Store(path) as store:
        wanted = trends(store, "pump", NOW + 30 * DAY, 30)
    assert [row["value"] for row in found] == [name for name, _, _ in wanted]
    assert {row["machine"] for row in found} == {"pump"}
    score = wanted[0][2]
    assert (found[0]["direction"], found[0]["days"]) == (1, score.days)
    assert found[0]["days_to_threshold"] == list(score.days_to_threshold)
    # A level has no threshold; JSON knows neither NaN nor infinity.
    assert found[1]["threshold"] is None and found[1]["days_to_threshold"] == [None] * 3
    # Until now is the default; with 7 days or more there is a trend.
    monkeypatch.setattr(history.time, "time", lambda: NOW + 30 * DAY)
    assert call(capsys, "trend", f"--store={path}").splitlines() == lines
    call(capsys, "trend", f"--store={path}", "--machine=pump", "--days=7")
    with pytest.raises(InputError, match="--days=6: at least 7"):
        call(capsys, "trend", f"--store={path}", "--days=6")


def test_a_machine_without_history_does_not_hide_the_others(path, capsys, monkeypatch):
    def found(store, machine, now, days):
        if machine == "pump":
            raise InputError("too little")
        return []

    monkeypatch.setattr(history, "trends", found)
    args = detect.parser().parse_args(["trend", f"--store={path}"])
    args.command(args)
    assert capsys.readouterr().err == "pump: too little\n"


def test_wrong_names_are_refused(path, capsys, tmp_path):
    with pytest.raises(InputError, match="the store knows pump, fan"):
        call(capsys, "trend", f"--store={path}", "--machine=x")
    # A mistyped name makes no new store.
    missing = f"--store={tmp_path / 'missing.db'}"
    for words in (
        ["alarms", "list"],
        ["alarms", "ack", 1],
        ["alarms", "shelve", "pump", "--hours=1"],
        ["alarms", "unshelve", "pump"],
        ["alarms", "export", f"--output={tmp_path / 'x.csv'}"],
        ["trend"],
    ):
        with pytest.raises(InputError, match="no such store"):
            call(capsys, *words, missing)
