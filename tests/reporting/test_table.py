import io

import pytest
from rich.console import Console

from asd_jax.reporting.table import (
    COLUMNS,
    column_title,
    grid_table,
    percent,
    print_table,
    results_table,
    text_table,
)
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


def cells(table):
    return [list(column.cells) for column in table.columns]


def test_a_table_of_results_has_the_means_below_and_the_filter_bank_in_dim_columns():
    results = {
        **RESULTS,
        "machines": {"fan": {"00": VALUES}, "pump": {"01": {"pauc": 0.25}}},
        "harmonic_mean": {"auc_source": 0.7, "pauc": 0.4},
    }
    baseline = {**RESULTS, "official_score": None, "harmonic_mean": {"pauc": 0.3}}
    table = results_table(results, baseline)
    assert [(c.header, c.justify, c.no_wrap, c.style) for c in table.columns] == [
        ("machine", "left", True, ""),
        ("section", "left", True, ""),
        ("AUC source", "right", False, ""),
        ("AUC target", "right", False, ""),
        ("pAUC", "right", False, ""),
        ("filter bank AUC source", "right", False, "dim"),
        ("filter bank AUC target", "right", False, "dim"),
        ("filter bank pAUC", "right", False, "dim"),
    ]
    assert cells(table) == [
        ["fan", "pump", "arithmetic mean", "harmonic mean"],
        ["00", "01", "", ""],
        ["75.00", "-", "75.00", "70.00"],
        ["50.00", "-", "50.00", "-"],
        ["51.23", "25.00", "51.23", "40.00"],
        ["75.00", "-", "75.00", "-"],
        ["50.00", "-", "50.00", "-"],
        ["51.23", "-", "51.23", "30.00"],
    ]
    assert [row.style for row in table.rows] == [None, None, "italic", "italic"]
    assert table.header_style == "bold" and "none" in table.caption
    alone = results_table(results)
    assert cells(alone) == cells(table)[:5] and alone.caption is None


def test_numbers_of_a_grid_and_of_a_table_of_text_stand_on_the_right():
    grid = grid_table({"knn": {"a": 0.7}, "gmm": {"b": 0.5, "a": 0.1}}, title="t")
    texts = text_table(["name", "x", "y"], [["a", "1", "2"]], title="t")
    assert [(c.header, c.justify) for c in grid.columns] == [
        ("back end", "left"),
        ("a", "right"),
        ("b", "right"),
    ]
    assert [[str(cell) for cell in column] for column in cells(grid)] == [
        ["knn", "gmm"],
        ["70.00", "10.00"],
        ["-", "50.00"],
    ]
    assert [(c.header, c.justify) for c in texts.columns] == [
        ("name", "left"),
        ("x", "right"),
        ("y", "right"),
    ]
    assert cells(texts) == [["a"], ["1"], ["2"]]
    assert grid.header_style == texts.header_style == "bold"
    assert grid_table({"knn": {"a": None}}, title="t").row_count == 1


def test_a_table_in_a_file_is_as_wide_as_its_columns_up_to_160(capsys):
    for letters, width in ((100, 104), (200, 160)):
        print_table(text_table(["a" * letters], [["1"]], title="t"))
        assert max(map(len, capsys.readouterr().out.splitlines())) == width


def test_titles_of_columns_are_words():
    assert [column_title(column) for column in COLUMNS] == [
        "official score",
        "AUC source",
        "AUC target",
        "AUC",
        "pAUC",
        "pAUC source",
        "pAUC target",
    ]


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
