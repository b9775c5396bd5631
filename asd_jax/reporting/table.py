"""Builds tables for the terminal, per machine and section, in percent; files keep fractions."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asd_jax.runtime.log import print_raw
from asd_jax.runtime.printable import printable

# of results.json, in the order in which tables and plots show them
COLUMNS = "official_score", "auc_source", "auc_target", "auc", "pauc", "pauc_source", "pauc_target"


def column_title(column: str) -> str:
    """Returns the title of a column: auc_source becomes "AUC source"."""
    return column.replace("auc", "AUC").replace("_", " ")


def results_table(results: Mapping, baseline: Mapping | None = None) -> Table:
    """Returns a table of results.json with a row per machine and section.

    The table shows the AUC columns and the official score in percent.

    Args:
        results: content of results.json of the system.
        baseline: content of results.json of the bare filter bank; its columns follow those of the
            system.
    """
    columns = _columns(results)
    table = Table(title=_title("official score", results), header_style="bold")
    # In a narrow terminal the headings are folded, and the names stay whole.
    table.add_column("machine", no_wrap=True)
    table.add_column("section", no_wrap=True)
    for column in columns:
        table.add_column(column_title(column), justify="right")
    for column in columns if baseline else ():
        table.add_column(f"filter bank {column_title(column)}", justify="right", style="dim")
    for machine, sections in results["machines"].items():
        for section, values in sections.items():
            # The baseline may lack a machine, whose cells then show "-".
            other = (baseline or {}).get("machines", {}).get(machine, {}).get(section, {})
            table.add_row(
                machine,
                section,
                *_cells(values, columns),
                *(_cells(other, columns) if baseline else ()),
            )
    for name, key in (("arithmetic mean", "arithmetic_mean"), ("harmonic mean", "harmonic_mean")):
        if key in results:
            other = _cells((baseline or {}).get(key, {}), columns) if baseline else ()
            table.add_row(name, "", *_cells(results[key], columns), *other, style="italic")
    if baseline:
        table.caption = _title("filter bank: official score", baseline)
    return table


def grid_table(scores: Mapping[str, Mapping[str, float | None]], *, title: str) -> Table:
    """Returns a table in percent of {back end: {column: official score}}, the best in bold."""
    table = Table(title=title, header_style="bold")
    table.add_column("back end")
    # In the order of their first appearance, because rows may lack columns.
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    best = max((v for row in scores.values() for v in row.values() if v is not None), default=None)
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in scores.items():
        cells = [percent(row.get(column)) for column in columns]
        bold = [
            Text(cell, "bold") if row.get(column) == best else cell
            for column, cell in zip(columns, cells, strict=True)
        ]
        table.add_row(name, *bold)
    return table


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str) -> Table:
    """Returns a table of headings and text cells; all columns but the first are right-aligned."""
    table = Table(title=title, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def print_table(table: Table) -> None:
    """Prints a table to standard output; in a file, it is wide enough for all columns."""
    console = _PlainConsole()
    # A file has no width; 80 columns would fold the tables of logs.
    console = console if console.is_terminal else _PlainConsole(width=160)
    with console.capture() as shown:
        console.print(table)
    print_raw(shown.get())


class _PlainConsole(Console):
    """A console that prints every string as it is.

    Names of machines such as pump[a] or :fire: would otherwise be read as markup. Style comes from
    the columns and from cells of rich's Text.
    """

    def __init__(self, **options):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options) -> Text:
        return super().render_str(printable(text), **options)


def percent(value: float | None) -> str:
    """Returns a fraction in percent: 0.664 becomes "66.40", and None becomes "-"."""
    return "-" if value is None else f"{100 * value:.2f}"


def _columns(results: Mapping) -> list[str]:
    found = {
        column
        for sections in results["machines"].values()
        for values in sections.values()
        for column in values
    }
    return [column for column in COLUMNS if column in found]


def _cells(values: Mapping[str, float], columns: list[str]) -> list[str]:
    return [percent(values.get(column)) for column in columns]


def _title(what: str, results: Mapping) -> str:
    score = results.get("official_score")
    value = "none (the notes say why)" if score is None else f"{percent(score)} %"
    return f"{what} {results['year']}: {value}"
