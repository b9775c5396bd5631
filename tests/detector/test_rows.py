"""What is told of recordings with odd names."""

import csv

import numpy as np
import pytest

from asd_jax.detector.rows import print_rows, printed, row, write_csv
from asd_jax.detector.verdict import Verdict
from asd_jax.runtime.errors import InputError

ODD = "a\x1b[31m[/x]\udcff.wav"


def verdict(is_anomaly=False):
    return Verdict(1.0, 2.0, 0.5, is_anomaly, (0.0, 1.0), "level", np.ones(1))


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
    assert "\x1b[1;31manomaly\x1b[0m" in out and "31mnormal" not in out


@pytest.mark.parametrize("name", ["=1+1.wav", "+a.wav", "-a.wav", "@a.wav", "\ta.wav", "\ra.wav"])
def test_no_name_in_the_csv_is_a_formula_and_each_still_names_its_file(tmp_path, name):
    write_csv(tmp_path / "x.csv", [row(name, verdict()), row(f"b/{name}", verdict())])
    with open(tmp_path / "x.csv", newline="") as file:
        files = [one["file"] for one in csv.DictReader(file)]
    assert files == [f"./{name}", f"b/{name}"]
    (tmp_path / name).touch()
    assert (tmp_path / files[0]).is_file()
