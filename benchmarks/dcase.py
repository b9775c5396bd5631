"""Trains on an edition of the challenge and scores it by its rule, with several seeds, next to the
published figures.

    python -m benchmarks.dcase --years=2023,2024 --subset=dev,eval --seeds=4 \\
        --weights=weights/eat_base.safetensors \\
        --config=configs/dcase2024.py --config.data.root=data/dcase{year} --output=DIR
    python -m benchmarks.dcase --years=2024 --subset=dev --config=configs/base.py:smoke --output=DIR

There is one run per year and seed over all machines found, both fine-tuned and frozen; {year} in
the root is replaced by the year. The same command continues an interrupted one, run by run. The
tables show AUC source, AUC target, pAUC and official score with mean and deviation over seeds, the
interval, and the cost. Published figures are those of the publications, not measured here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from asd_jax.config import RunConfig, read_config
from asd_jax.data.dcase import EDITIONS
from asd_jax.reporting.page import Page, write_page
from asd_jax.reporting.table import print_table, text_table
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import with_values
from benchmarks import grid, verdict
from benchmarks.grid import Cell
from benchmarks.provenance import cost_section, write_provenance
from benchmarks.verdict import Row

# (system, {(year, subset): official score in percent}), for the evaluation subset unless stated
# otherwise.
PUBLISHED: tuple[tuple[str, Mapping[tuple[int, str], float]], ...] = (
    ("Zhong et al., arXiv 2508.15334 (the method here; EAT, one model)", {(2024, "eval"): 66.40}),
    ("challenge winner (often an ensemble)", {(2023, "eval"): 66.97, (2024, "eval"): 66.24}),
    ("LoRA fine-tuning, arXiv 2409.07016", {(2023, "eval"): 77.75}),
    (
        "GenRep (frozen BEATs)",
        {(2023, "dev"): 65.0, (2023, "eval"): 73.8, (2024, "dev"): 58.1, (2024, "eval"): 62.4},
    ),
    (
        "BEAM (frozen)",
        {(2023, "dev"): 66.3, (2023, "eval"): 73.1, (2024, "dev"): 62.4, (2024, "eval"): 63.0},
    ),
    (
        "local density normalisation",
        {(2023, "dev"): 71.3, (2023, "eval"): 72.4, (2024, "eval"): 62.4},
    ),
    (
        "ASDKit EAT, LoRA, 4 seeds",
        {(2023, "dev"): 63.98, (2023, "eval"): 72.04, (2024, "dev"): 59.93, (2024, "eval"): 61.47},
    ),
    (
        "ASDKit BEATs, LoRA, 4 seeds",
        {(2023, "dev"): 62.66, (2023, "eval"): 71.46, (2024, "dev"): 59.53, (2024, "eval"): 61.72},
    ),
    ("official auto-encoder baseline", {(2023, "eval"): 61.05, (2024, "eval"): 56.51}),
)
FINE_TUNED = "fine-tuned"


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    grid.define_flags(argv)
    flags.DEFINE_list("years", ["2024"], "editions, 2020 to 2026")
    flags.DEFINE_list(
        "subset",
        ["dev", "eval"],
        "subsets of the machines (2020 to 2022: of the sections): dev, eval",
    )


def main() -> None:
    """Prints and writes a table per year and subset."""
    args = flags.FLAGS
    output = Path(flags.FLAGS.output)
    years = _years(args.years, args.subset)
    found = {}
    sections = []
    seconds = {}
    cells = [*grid.standing_cells(), Cell("frozen"), Cell(FINE_TUNED, fine_tune=True)]
    cells += [Cell(name, encoder=name) for name in args.encoder]
    for year in years:
        folder = Path(args.cells or output) / str(year)
        config = grid.prepared(_of_year(read_config(RunConfig, args.config), year), folder)
        rows = {}
        for cell in cells:
            print_line(f"dcase {year}: {cell.name}")
            rows[cell.name] = grid.run_cell(cell, config, grid.number_of_seeds(), folder)
            seconds[f"{year}, {cell.name}"] = rows[cell.name].seconds
        for subset in args.subset:
            title = f"{year} {subset}"
            own = {name: of_subset(row, year, subset) for name, row in rows.items()}
            if not own[FINE_TUNED].clips:
                print_line(f"{title}: none of its machines is there, so it has no table")
                continue
            synthetic = (Path(config.data.root) / "factory.json").is_file()
            others = {} if synthetic else published(year, subset)
            found[title] = verdict.compared(own, FINE_TUNED, year) | {"published": others}
            more = [
                [name, f"{value:.2f}", "", "", "", "", "published"]
                for name, value in others.items()
            ]
            columns, table = verdict.as_table(found[title])
            print_table(text_table(columns, [*table, *more], title=f"{title}: official score, %"))
            print_table(text_table(*verdict.machine_table(found[title]), title=f"{title}, %"))
            print_line(found[title]["verdict"])
            sections += verdict.result_sections(title, found[title], more)
    write_json(output / "dcase.json", found)
    write_provenance(output, seconds)
    lead = ["Rows marked as published are the publications' figures, not measured here."]
    write_page(
        output / "report" / "index.html",
        Page("DCASE Task 2", [*sections, cost_section(seconds)], lead),
    )


def of_subset(row: Row, year: int, subset: str) -> Row:
    """Returns the part of a row for the machines and sections of an edition's development or
    evaluation set.
    """
    edition = EDITIONS[year]
    machines = edition.dev if subset == "dev" else edition.evaluation
    here = [n for n, clip in enumerate(row.clips) if clip[1] in machines.get(clip[0], ())]
    part = verdict.row_of([row.clips[n] for n in here], row.scores[:, here], year) if here else None
    part = part or dataclasses.replace(row, clips=[], scores=row.scores[:, :0])
    return dataclasses.replace(part, folder=row.folder, seconds=row.seconds)


def published(year: int, subset: str) -> dict[str, float]:
    """Returns {system: official score in percent} as published."""
    return {name: scores[year, subset] for name, scores in PUBLISHED if (year, subset) in scores}


def _years(years: Sequence[str], subsets: Sequence[str]) -> list[int]:
    for year in years:
        if not (year.isdigit() and int(year) in EDITIONS):
            raise InputError(f"--years={year}: known are {', '.join(map(str, EDITIONS))}")
    if wrong := set(subsets) - {"dev", "eval"}:
        raise InputError(f"--subset={wrong.pop()}: known are dev, eval")
    return [int(year) for year in years]


def _of_year(config: RunConfig, year: int) -> RunConfig:
    root = config.data.root.replace("{year}", str(year))
    return with_values(config, {"data.year": year, "data.root": root})


if __name__ == "__main__":
    run(main, define_flags)
