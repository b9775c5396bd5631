"""Determines what scores support: table rows with deviations and intervals, differences by a paired
bootstrap, and verdicts in words.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.reporting.page import Plot, Section, Table
from asd_jax.reporting.table import percent
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
    official, columns = [], {}
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
    return Row("", list(clips), scores, official, columns, 0.0)


def compared(rows: Mapping[str, Row], reference: str, year: int) -> dict:
    """Returns the official score, deviation, interval and difference to the reference of each row,
    and the verdict.
    """
    against, cells = rows[reference], {}
    for name, row in rows.items():
        whole: Interval = bootstrap(row.clips, row.scores, year)
        # Two ways to score the same run share its seeds.
        same = row.folder == against.folder
        less: Comparison = paired_bootstrap(
            row.clips, row.scores, against.scores, year, same_seeds=same
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
    found = {
        "year": year,
        "seeds": max(len(row.official) for row in rows.values()),
        "reference": reference,
    }
    return found | {"cells": cells, "verdict": verdict(cells, reference)}


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
    said = [f"{word}: {'; '.join(names)}." for word, names in by.items() if names]
    return f"Against {reference}, by a paired bootstrap over clips and seeds (95 %), " + " ".join(
        said
    )


def as_table(found: Mapping) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and cells of the table for the content of <name>.json, as text in
    percent.
    """
    rows = []
    for name, of in found["cells"].items():
        less, (low, high) = of["minus_reference"], of["interval"]
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
            + (["", of["verdict"]] if name == found["reference"] else [difference, of["verdict"]])
        )
    headings = [
        "cell",
        "score",
        "deviation",
        "95 % interval",
        f"minus {found['reference']}",
        "verdict",
    ]
    # The notes say why.
    missing = ["-"] * (len(headings) - 2)
    return headings, rows + [[name, *missing, "not scored"] for name in found.get("not_scored", ())]


def machine_table(found: Mapping) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and cells of a table of every machine's values in every cell, mean over
    seeds in percent.
    """
    from asd_jax.reporting.plots import column_title

    names = list(
        dict.fromkeys(
            c for of in found["cells"].values() for row in of["machines"].values() for c in row
        )
    )
    rows = []
    for cell, of in found["cells"].items():
        for machine, values in of["machines"].items():
            spread = of["machine_deviations"][machine]
            rows.append(
                [cell, machine, *(_with_deviation(values.get(c), spread.get(c)) for c in names)]
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
    from asd_jax.reporting import plots

    columns, rows = as_table(found)
    bars = {
        cell: {"official_score": Interval(of["official_score"], *of["interval"])}
        for cell, of in found["cells"].items()
    }
    parts = [
        Table(columns, [*rows, *more], "Percent."),
        Plot(plots.auc_bars(bars), "Official score with 95 % intervals."),
    ]
    each = Table(*machine_table(found), "Every machine, percent.", folded=True)
    return [Section(title, [*parts, each])]
