"""Tabulates finished runs: their scores, and the settings in which they differ."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax.reporting.table import percent, print_table, text_table
from asd_jax.run.workdir import Run, config_differences
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, check_output, read_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.official_score import summary

# Settings that change what a run shows or how fast it is, but not its scores.
_NO_MATTER = ("report", "parallel")
_SCORES = ("year", "official score", "deviation", "ensemble", "filter bank")


def compare_runs(folders: Sequence[Path], output: Path | None = None) -> None:
    """Prints a table of finished runs, best first, and writes it as csv, with each machine's score.

    Args:
        folders: runs, or folders with runs somewhere below them.
        output: the csv file.

    Raises:
        InputError: there is no finished run in a folder.
    """
    if output:
        check_output(output)
    paths = [path for folder in folders for path in finished_runs(folder)]
    names = _names(paths)
    runs = {name: _read(path) for name, path in zip(names, paths, strict=True)}
    # Runs without a score, e.g. without labels, come last.
    order = sorted(runs, key=lambda name: -(runs[name][0]["official score"] or -1))
    differing = _differing([config for _, config in runs.values()])
    scores = [c for c in _SCORES if any(found[c] is not None for found, _ in runs.values())]
    rows = []
    for name in order:
        found, config = runs[name]
        cells = [str(found[c]) if c == "year" else percent(found[c]) for c in scores]
        rows.append([name, *cells, *(_text(_value(config, key)) for key in differing)])
    print_table(text_table(["run", *scores, *differing], rows, title="official score, %"))
    # Readers ask first whether the best run is really better than the second.
    if len(runs) > 1 and runs[order[1]][0]["official score"] is not None:
        one, other = (Run(paths[names.index(name)]).scores for name in order[:2])
        year = runs[order[0]][0]["year"]
        print_line(
            "whether a difference is more than chance: asd-jax dcase_score "
            f"--scores={one} --against={other} --year={year}"
        )
    if output:
        _write_csv(output, order, runs, scores, differing)


def finished_runs(folder: Path) -> list[Path]:
    """Returns the folder itself if it is a finished run, or else all finished runs below it.

    The seeds of a run are not listed beside it.
    """
    if Run(folder).results.is_file():
        return [folder]
    found = []
    for path, folders, _ in os.walk(folder):
        if Run(path).results.is_file():
            found.append(Path(path))
            # Folders below a run belong to it.
            folders.clear()
        # In place, so that os.walk visits the folders in the same order on every file system.
        folders.sort()
    if not found:
        raise InputError(f"{folder}: no finished run here or below (a run ends with results.json)")
    return found


def _read(workdir: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Returns the scores of a run, as fractions, and its config."""
    run = Run(workdir)
    results = read_json(run.results)
    try:
        year = results["year"]
        machines = results["machines"]
        found = {
            "year": year,
            "official score": results["official_score"],
            "deviation": results.get("standard_deviation", {}).get("official_score"),
            "ensemble": results.get("ensemble", {}).get("official_score"),
            "filter bank": results.get("filter_bank_baseline", {}).get("official_score"),
            "machines": {m: summary({m: own}, year).official_score for m, own in machines.items()},
        }
        # Results of another model's embeddings come without the config of a run.
        if not run.config.is_file():
            return found, {"scoring": results["scoring"]}
        return found, read_json(run.config)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{run.results}: not the results of a run ({error!r})") from error


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns the paths of the runs, without their common beginning, as their names."""
    if len(paths) == 1:
        return [paths[0].name or str(paths[0])]
    # Absolute, because commonpath refuses a mixture of relative and absolute paths.
    shared = os.path.commonpath([path.absolute() for path in paths])
    return [os.path.relpath(path.absolute(), shared) for path in paths]


def _differing(configs: Sequence[Mapping]) -> list[str]:
    """Returns the dotted keys in which any config differs from the first."""
    found = set()
    for config in configs[1:]:
        found |= {key for key, _ in config_differences(configs[0], config)}
    return sorted(key for key in found if key.partition(".")[0] not in _NO_MATTER)


def _value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _write_csv(path: Path, order, runs, scores, differing) -> None:
    machines = sorted({machine for found, _ in runs.values() for machine in found["machines"]})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *(c.replace(" ", "_") for c in scores), *machines, *differing])
    for name in order:
        found, config = runs[name]
        values = [found[c] for c in scores] + [found["machines"].get(m) for m in machines]
        writer.writerow([name, *values, *(_value(config, key) for key in differing)])
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())
    print_line(f"wrote {path}")
