import io

import pytest
from rich.console import Console

from asd_jax.reporting.table import grid_table, percent, print_table, results_table, text_table
from asd_jax.runtime.printable import printable

VALUES = {"auc_source": 0.75, "auc_target": 0.5, "pauc": 0.512345, "f1_source": 0.9}
RESULTS = {
    "year": 2024,
    "official_score": 0.664,
    "machines": {"fan": {"00": VALUES}},
    "arithmetic_mean": {"auc_source": 0.75, "auc_target": 0.5, "pauc": 0.512345},
}


def text(table, width=160):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_a_row_holds_a_sections_auc_columns_in_percent():
    said = text(results_table(RESULTS))
    row = next(line for line in said.splitlines() if "fan" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "fan",
        "00",
        "75.00",
        "50.00",
        "51.23",
    ]
    assert "official score 2024: 66.40 %" in said


def test_in_a_narrow_terminal_the_headings_are_folded_and_the_names_are_whole():
    name = "SewingMachineOfTheSecondFloor"
    results = {**RESULTS, "machines": {name: {"00": VALUES}}}
    lines = text(results_table(results, results), width=100).splitlines()
    assert any(name in line for line in lines) and max(map(len, lines)) <= 100


def test_the_baseline_stands_beside_the_system():
    baseline = {
        **RESULTS,
        "official_score": 0.6,
        "machines": {"fan": {"00": VALUES | {"pauc": 0.6}}},
    }
    said = text(results_table(RESULTS, baseline))
    row = next(line for line in said.splitlines() if "fan" in line)
    assert row.strip("│ ").split()[-1] == "60.00"
    assert "filter bank: official score 2024: 60.00 %" in said


def test_results_without_official_score_refer_to_their_notes():
    said = text(results_table({"year": 2024, "official_score": None, "machines": {}}))
    assert "none (the notes say why)" in " ".join(said.split())


def test_a_grid_shows_what_cannot_be_as_a_dash():
    said = text(
        grid_table(
            {"knn": {"train": 0.7, "none": 0.5}, "smote": {"train": None, "none": 0.6}},
            title="scores",
        )
    )
    assert [line.strip("│ ").split() for line in said.splitlines() if "smote" in line] == [
        ["smote", "│", "-", "│", "60.00"]
    ]
    assert percent(None) == "-"


@pytest.mark.parametrize(
    "name",
    ["pump[a]", "[/x]", "[bold]", ":fire:", "\x1b[31mred", "\udcff", "a\\", "[link=x]y", "\n"],
)
def test_names_are_shown_as_they_are(capsys, name):
    shown = printable(name)
    print_table(results_table({**RESULTS, "machines": {name: {name: VALUES}}}))
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "75.00" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:2] == [shown, shown]
    print_table(text_table([name, "b"], [[name, "1"]], title=name))
    print_table(grid_table({name: {name: 0.5}}, title=name))
    assert capsys.readouterr().out.count(shown) == 6


def test_the_best_value_of_a_grid_is_bold(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(grid_table({"knn": {"train": 0.7, "none": 0.5}}, title="scores"))
    assert "\x1b[1m70.00\x1b[0m" in capsys.readouterr().out
