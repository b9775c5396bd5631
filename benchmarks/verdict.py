"""Determines what scores support: table rows with deviations and intervals, differences by a paired
bootstrap, and verdicts in words.
"""

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asd_jax.reporting import plots
from asd_jax.reporting.page import Plot, Section, Table
from asd_jax.reporting.table import column_title, percent
from asd_jax.runtime.files import atomic_file
from asd_jax.scoring.intervals import Comparison, Interval, bootstrap, paired_bootstrap
from asd_jax.scoring.official_score import official_score


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of one cell.

    Attributes:
        folder: Folder of the cell's embeddings.
        clips: (machine, section, domain, label) of each test clip.
        scores: Scores "s n" of its seeds and clips.
        official: Official score of each seed.
        columns: {"machine section": {column: values of the seeds}}.
        seconds: Total seconds of all seeds.
    """

    folder: str
    clips: list[tuple]
    scores: np.ndarray
    official: list[float]
    columns: dict[str, dict[str, list[float]]]
    seconds: float


def row_of(clips: Sequence[tuple], scores: np.ndarray, year: int) -> Row:
    """Returns the row of clips (machine, section, domain, label) and their scores "s n" by the rule
    of a year.
    """
    official = []
    columns = {}
    for of_seed in scores:
        values = official_score(
            [(*clip, score) for clip, score in zip(clips, of_seed.tolist(), strict=True)], year
        )
        official.append(values.official_score)
        for machine, sections in values.machines.items():
            for section, row in sections.items():
                for column, value in row.items():
                    columns.setdefault(f"{machine} {section}", {}).setdefault(column, []).append(
                        value
                    )
    return Row(
        folder="", clips=list(clips), scores=scores, official=official, columns=columns, seconds=0.0
    )


def compared(rows: Mapping[str, Row], reference: str, year: int) -> dict:
    """Returns the official score, deviation, interval and difference to the reference of each row,
    and the verdict.
    """
    against = rows[reference]
    cells = {}
    # A p-value cannot be less than 2 / (replicates + 1), which must survive Holm's correction.
    replicates = max(1000, 50 * len(rows))
    for name, row in rows.items():
        whole: Interval = bootstrap(row.clips, row.scores, year)
        # Two ways to score the same run share its seeds.
        same = row.folder == against.folder
        less: Comparison = paired_bootstrap(
            row.clips,
            row.scores,
            against.scores,
            year,
            same_seeds=same,
            replicates=replicates,
        )
        cells[name] = {
            "official_score": statistics.fmean(row.official),
            "deviation": statistics.stdev(row.official) if len(row.official) > 1 else None,
            "interval": [whole.low, whole.high],
            "minus_reference": dataclasses.asdict(less),
            "verdict": "the reference" if name == reference else in_words(less),
            "machines": {
                m: {c: statistics.fmean(v) for c, v in of.items()} for m, of in row.columns.items()
            },
            "machine_deviations": {
                m: {c: statistics.stdev(v) if len(v) > 1 else None for c, v in of.items()}
                for m, of in row.columns.items()
            },
        }
    others = [name for name in cells if name != reference]
    adjusted = holm([cells[name]["minus_reference"]["p_value"] for name in others])
    for name, value in zip(others, adjusted, strict=True):
        cells[name]["minus_reference"]["p_value_holm"] = value
    found = {
        "year": year,
        "seeds": max(len(row.official) for row in rows.values()),
        "reference": reference,
    }
    return found | {"cells": cells, "verdict": verdict(cells, reference)}


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values that hold for all comparisons together, by Holm's step-down method."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, n in enumerate(order.tolist()):
        highest = max(highest, (len(p_values) - rank) * p_values[n])
        adjusted[n] = min(1.0, highest)
    return adjusted


def in_words(less: Comparison) -> str:
    """Returns "better", "worse" or "not distinguishable" for a paired difference, by its 95 %
    interval.
    """
    return "better" if less.low > 0 else "worse" if less.high < 0 else "not distinguishable"


def verdict(cells: Mapping[str, Mapping], reference: str) -> str:
    """Returns what the numbers support, in a sentence or two."""
    by = {
        word: [name for name in cells if cells[name]["verdict"] == word]
        for word in ("better", "worse", "not distinguishable")
    }
    sentences = [f"{word}: {'; '.join(names)}." for word, names in by.items() if names]
    return f"Against {reference}, by a paired bootstrap over clips and seeds (95 %), " + " ".join(
        sentences
    )


def as_table(found: Mapping) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and cells of the table for the content of <name>.json, as text in
    percent.
    """
    rows = []
    for name, of in found["cells"].items():
        less = of["minus_reference"]
        low, high = of["interval"]
        difference = (
            f"{100 * less['difference']:+.2f} ({100 * less['low']:+.2f} to "
            f"{100 * less['high']:+.2f})"
        )
        rows.append(
            [
                name,
                percent(of["official_score"]),
                percent(of["deviation"]),
                f"{percent(low)} to {percent(high)}",
            ]
            + (
                ["", "", of["verdict"]]
                if name == found["reference"]
                else [difference, f"{less['p_value_holm']:.3f}", of["verdict"]]
            )
        )
    headings = [
        "cell",
        "score",
        "deviation",
        "95 % interval",
        f"minus {found['reference']}",
        "p, Holm",
        "verdict",
    ]
    # The notes say why.
    missing = ["-"] * (len(headings) - 2)
    return headings, rows + [[name, *missing, "not scored"] for name in found.get("not_scored", ())]


def machine_table(found: Mapping) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and cells of a table of every machine's values in every cell, mean over
    seeds in percent.
    """
    names = list(
        dict.fromkeys(
            c for of in found["cells"].values() for row in of["machines"].values() for c in row
        )
    )
    rows = []
    for cell, of in found["cells"].items():
        for machine, values in of["machines"].items():
            deviations = of["machine_deviations"][machine]
            rows.append(
                [cell, machine, *(_with_deviation(values.get(c), deviations.get(c)) for c in names)]
            )
    return ["cell", "machine", *map(column_title, names)], rows


def _with_deviation(value: float | None, deviation: float | None) -> str:
    return percent(value) + (f" ± {percent(deviation)}" if deviation is not None else "")


def result_sections(
    title: str, found: Mapping, more: Sequence[Sequence[str]] = ()
) -> list[Section]:
    """Returns a report section for the content of <name>.json: the table, plots and values of every
    machine.

    Args:
        title: Title of the section.
        found: The content of <name>.json.
        more: Further rows of the table.
    """
    headings, cells = as_table(found)
    # The verdict comes second, since a phone shows the first columns alone.
    columns, *rows = ([row[0], row[-1], *row[1:-1]] for row in (headings, *cells, *more))
    differences = {
        cell: Interval(*(of["minus_reference"][key] for key in ("difference", "low", "high")))
        for cell, of in found["cells"].items()
        if cell != found["reference"]
    }
    bars = {
        cell: {"official_score": Interval(of["official_score"], *of["interval"])}
        for cell, of in found["cells"].items()
    }
    parts = [
        Table(columns, rows, "Percent."),
        *(
            [
                Plot(
                    plots.difference_bars(differences, found["reference"]),
                    "Paired differences on the same clips, 95 % intervals: the verdict rests on "
                    "these.",
                )
            ]
            if differences
            else []
        ),
        Plot(
            plots.auc_bars(bars),
            "Official score with 95 % intervals. They may overlap where the difference is clear.",
        ),
    ]
    each = Table(*machine_table(found), "Every machine, percent.", folded=True)
    text = [
        "better and worse: the 95 % interval of the paired difference excludes 0, each comparison "
        "by itself. p, Holm: two-sided p-value, corrected for the number of comparisons in this "
        "table; below 0.05 the difference holds for all of them together."
    ]
    return [Section(title, [*parts, each], text)]


def write_tables(folder: Path, name: str, found: Mapping) -> None:
    """Writes the table of <name>.json for papers: <name>.md, <name>.tex and <name>.csv."""
    columns, rows = as_table(found)
    lines = [columns, ["---"] * len(columns), *rows]
    markdown = "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines
    )
    body = "".join(f"{' & '.join(map(_latex, row))} \\\\\n" for row in rows)
    latex = (
        f"\\begin{{tabular}}{{l{'r' * (len(columns) - 2)}l}}\n\\hline\n"
        f"{' & '.join(map(_latex, columns))} \\\\\n\\hline\n{body}\\hline\n\\end{{tabular}}\n"
    )
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([columns, *rows])
    for ending, text in (("md", markdown), ("tex", latex), ("csv", table.getvalue())):
        with atomic_file(folder / f"{name}.{ending}") as file:
            file.write(text.encode())


def _latex(text: str) -> str:
    """Returns text with the characters escaped that LaTeX takes as commands."""
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
    }
    return "".join(special.get(c, c) for c in text)
