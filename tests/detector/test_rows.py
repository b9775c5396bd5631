"""What is told of recordings with odd names."""

import csv
import json

import numpy as np
import pytest

from asd_jax.detector import rows as module
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.rows import COLUMNS, print_rows, printed, report_short, row, write_csv
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.where import Band
from asd_jax.runtime.errors import InputError

ODD = "a\x1b[31m[/x]\udcff.wav"


def verdict(is_anomaly=False):
    return Verdict(1.0, 2.0, 0.5, is_anomaly, (0.0, 1.0), "level", np.ones(1))


def full():
    notes = (Note(Kind.SHORT, "a"), Note(Kind.CLIPPING, "b"))
    band = Band(900.12345678, 1300.0, 6.4)
    windows = np.array([1.0, 12.12345678, 3.0])
    return Verdict(10.0, 2.0, 0.0123456789, True, (1.5, 2.5), "rhythm", windows, notes, band)


FULL = {
    "file": "a.wav",
    "score": 10.0,
    "threshold": 2.0,
    "is_anomaly": True,
    "p_value": 0.012346,
    "worst_start": 1.5,
    "worst_end": 2.5,
    "odd": "rhythm",
    "note": "short: a; clipping: b",
    "highest": 12.123457,
    "flags": "short clipping",
    "where": "0.90-1.3 kHz, +6 dB against normal",
    "low_hz": 900.123457,
    "high_hz": 1300.0,
    "decibels": 6.4,
}
PLAIN = FULL | {
    "file": "b.wav",
    "score": 1.0,
    "is_anomaly": False,
    "p_value": 0.5,
    "worst_start": 0.0,
    "worst_end": 1.0,
    "odd": "level",
    "highest": 1.0,
    **dict.fromkeys(("note", "flags", "where"), ""),
    **dict.fromkeys(("low_hz", "high_hz", "decibels"), 0.0),
}


def test_a_row_has_all_that_a_verdict_says_with_six_digits():
    assert row("a.wav", full()) == FULL and tuple(FULL) == COLUMNS
    assert row("b.wav", verdict()) == PLAIN
    assert row("c.wav", InputError("empty")) == {"file": "c.wav", "error": "empty"}


def test_json_and_errors_are_printed_and_the_rows_go_on(capsys):
    given = [FULL, {"file": "c.wav", "error": "empty"}, PLAIN]
    assert list(printed(given, as_json=True)) == given
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [FULL, PLAIN]
    assert err == "error: empty\n"
    assert list(printed(given, as_json=False)) == given and capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{}, {"only": True}])
def test_output_that_fails_ends_the_work_only_if_there_is_no_other(monkeypatch, options):
    said = []
    monkeypatch.setattr(module, "print_result", lambda line: said.append(True))
    monkeypatch.setattr(module, "print_line", lambda line: said.append(False))
    list(printed([FULL], as_json=True, **options))
    assert said == [bool(options)]


def test_the_csv_has_all_columns_of_what_could_be_scored(tmp_path):
    write_csv(tmp_path / "x.csv", [FULL, {"file": "c.wav", "error": "empty"}, PLAIN])
    with open(tmp_path / "x.csv", newline="") as file:
        header, *found = csv.reader(file)
    expected = [[str(value) for value in one.values()] for one in (FULL, PLAIN)]
    assert tuple(header) == COLUMNS and found == expected


def cells(out):
    """Returns the cells of each line of a table on the screen."""
    return [[*line.strip("│┃").replace("┃", "│").split("│")] for line in out.splitlines()]


def test_the_table_has_a_line_for_each_recording_and_the_sum_follows(capsys):
    given = [FULL | {"file": "x" * 300}, {"file": "c.wav", "error": "empty"}, PLAIN]
    print_rows(given, 2.0, table=True)
    out, err = capsys.readouterr()
    assert "threshold 2.000" in out.splitlines()[0] and err == "1 of 2 anomalous\n"
    lines = [line for line in cells(out) if len(line) == 7]
    headings = ("file", "score", "p-value", "verdict", "worst at", "differs in", "where")
    assert tuple(cell.strip() for cell in lines[0]) == headings
    # A long name is folded, and none of it is lost; numbers are aligned on the right.
    assert "".join(line[0].strip() for line in lines[1:-1]) == "x" * 300
    first, last = lines[1], lines[-1]
    assert [first[1], last[1]] == [" 10.000 ", "  1.000 "] and first[2].endswith(" 0.012 ")
    assert first[3].startswith(" anomaly (short, ") and last[3].split() == ["normal"]
    expected = ["b.wav", "1.000", "0.500", "normal", "0.0 to 1.0 s", "mean spectrum", ""]
    assert [cell.strip() for cell in last] == expected
    print_rows(given, 2.0, table=False)
    assert capsys.readouterr() == ("", "1 of 2 anomalous\n")


def test_short_recordings_are_counted_among_those_that_could_be_scored(capsys):
    report_short([FULL, FULL, PLAIN, {"file": "c.wav", "error": "empty"}], 2.0)
    assert capsys.readouterr().err.startswith(
        "2 of 3 recordings are shorter than the window of 2 s"
    )
    report_short([PLAIN], 2.0)
    assert capsys.readouterr().err == ""


def test_names_and_errors_steer_no_screen(capsys):
    rows = list(
        printed([row(ODD, verdict()), row(ODD, InputError(f"{ODD}: empty"))], as_json=False)
    )
    print_rows(rows, 2.0, table=True)
    out, err = capsys.readouterr()
    assert r"a\x1b[31m[/x]\udcff.wav" in out and r"error: a\x1b[31m[/x]\udcff.wav: empty" in err


def test_an_anomaly_stands_out(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_rows([row("a.wav", verdict(True)), row("b.wav", verdict())], 2.0, table=True)
    out = capsys.readouterr().out
    assert "\x1b[1mfile" in out.replace(" ", "")
    assert "\x1b[1;31manomaly\x1b[0m" in out and "31mnormal" not in out


@pytest.mark.parametrize("name", ["=1+1.wav", "+a.wav", "-a.wav", "@a.wav", "\ta.wav", "\ra.wav"])
def test_no_name_in_the_csv_is_a_formula_and_each_still_names_its_file(tmp_path, name):
    write_csv(tmp_path / "x.csv", [row(name, verdict()), row(f"b/{name}", verdict())])
    with open(tmp_path / "x.csv", newline="") as file:
        files = [one["file"] for one in csv.DictReader(file)]
    assert files == [f"./{name}", f"b/{name}"]
    (tmp_path / name).touch()
    assert (tmp_path / files[0]).is_file()
