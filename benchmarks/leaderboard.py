"""Generates the leaderboard, a table of every experiment whose result is in benchmarks/results/.

    python -m benchmarks.leaderboard --add=runs/simam --data="uav_noisy (a drone in noise)" \\
        --internal
    python -m benchmarks.leaderboard                                 # only rewrites the table

--add copies the results of a finished grid into benchmarks/results/: its scores, and the command,
commit, device and date. The table between the markers of benchmarks/README.md is made from all
files in that folder. Rows on recordings that must not be redistributed are added with --internal,
and are marked.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from asd_jax.reporting.table import percent
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from benchmarks.cost_model import write_between

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "data",
    "row",
    "score, %",
    "95 % interval",
    "against the reference",
    "seeds",
    "on",
    "commit, date",
)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("add", [], "folders that grids wrote (--output)")
    flags.DEFINE_string("data", "", "what recordings the added ones are of")
    flags.DEFINE_bool("internal", False, "recordings that may not be redistributed")
    flags.DEFINE_string(
        "readme", str(Path(__file__).parent / "README.md"), "file that holds the table"
    )
    flags.DEFINE_string("results", str(RESULTS), "folder of the results")


def main() -> None:
    """Adds results, and writes the table."""
    args = flags.FLAGS
    for folder in args.add:
        add(Path(folder), args.data, args.internal, Path(args.results))
    write_between(Path(args.readme), "leaderboard", leaderboard(Path(args.results)))


def add(folder: Path, data: str, internal: bool, results: Path) -> None:
    """Copies the scores and provenance of a finished grid into the results.

    Raises:
        InputError: The data are not described, or the folder has no finished grid.
    """
    if not data:
        raise InputError('--data="..." says what recordings the results are of')
    if not (folder / "timing.json").is_file():
        raise InputError(
            f"{folder}: no timing.json; --add takes a folder that one of the grids of benchmarks/ "
            "wrote"
        )
    made = read_json(folder / "timing.json")
    added = 0
    for path in sorted(folder.glob("*.json")):
        found = read_json(path)
        # The file of benchmarks.dcase contains a table for each edition and subset.
        for title, table in {"": found, **found}.items():
            if isinstance(table, dict) and "cells" in table:
                name = " ".join([path.stem, *filter(None, [title, data])])
                kept = {
                    "experiment": f"{path.stem} {title}".strip(),
                    "data": data,
                    "internal": internal,
                }
                kept |= {key: made[key] for key in ("command", "commit", "date", "device")}
                kept |= {key: table[key] for key in ("year", "seeds", "reference")}
                kept["cells"] = {cell: _short(of) for cell, of in table["cells"].items()}
                write_json(
                    results / f"{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.json", kept
                )
                added += 1
    if not added:
        raise InputError(
            f"{folder}: no table; --add takes a folder that one of the grids of benchmarks/ wrote"
        )


def leaderboard(results: Path) -> str:
    """Returns the results as Markdown: a table per experiment with the best row first, and the
    commands below.
    """
    experiments: dict[str, list[Mapping]] = {}
    for path in sorted(results.glob("*.json")):
        found = read_json(path)
        if "cells" in found and "experiment" in found:
            experiments.setdefault(found["experiment"], []).append(found)
    lines = [
        "Internal: on recordings that may not be redistributed, so only who has them can repeat it."
    ]
    for name, tables in experiments.items():
        lines += ["", f"### {name}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
        for found in tables:
            rows = sorted(found["cells"].items(), key=lambda item: -item[1]["official_score"])
            lines += [_row(found, cell, of) for cell, of in rows]
        lines += ["", *(f"- {found['data']}: `{found['command']}`" for found in tables)]
    return "\n".join(lines)


def _short(of: Mapping) -> dict:
    return {key: of[key] for key in ("official_score", "deviation", "interval", "verdict")}


def _row(found: Mapping, cell: str, of: Mapping) -> str:
    data = found["data"] + (", internal" if found["internal"] else "")
    score = percent(of["official_score"]) + (
        f" ± {percent(of['deviation'])}" if of["deviation"] is not None else ""
    )
    interval = " to ".join(percent(value) for value in of["interval"])
    made = f"{found['commit']}, {found['date']}"
    values = data, cell, score, interval, of["verdict"], found["seeds"], found["device"], made
    return f"| {' | '.join(map(str, values))} |"


if __name__ == "__main__":
    run(main, define_flags)
