"""Measures what each way to condition, pool and score the tokens of a frozen encoder is worth.

    python -m benchmarks.methods --weights=weights/eat_base.safetensors --config.data.root=DIR \\
        --output=DIR
    python -m benchmarks.methods --config=configs/base.py:smoke --weights=none --output=DIR
        synthetic machines
    python -m benchmarks.methods --join=DIR,DIR,... --output=DIR
        a table in Markdown of several sets

Every row changes one thing of the reference: the mean over time of each frequency band's tokens
(frozen.block), scored by the config's scoring. The encoder is run once for all rows, with the front
end that the weight file's header names. The command writes methods.json.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.config import RunConfig, read_config
from asd_jax.models.settings import CONDITIONINGS, Tokens
from asd_jax.reporting.table import print_table, text_table
from asd_jax.run.clips import find_data, readable_clips
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.automatic import chosen_scoring
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import AUTO, Scoring
from benchmarks import grid, verdict
from benchmarks.provenance import provenance, write_provenance
from benchmarks.token_views import BARE, View, view_embeddings
from benchmarks.verdict import Row

REFERENCE = "mean by band, 1-NN"
BY_BAND = Tokens(bands="apart")
POOLINGS = ("gem", "max", "gwrp", "rdp", "rdp_gem")
SCORINGS: Mapping[str, Mapping] = {
    "standardised, Euclidean": {"distance": "euclidean", "standardize": True},
    "Euclidean of unit vectors": {"distance": "unit_euclidean"},
    "both domains by the target's deviation": {"deviation": "target"},
    "band matching": {"back_end": "band_matching"},
    "local density, K = 4": {"back_end": "local_density"},
    "local density, K = 4, Euclidean of unit vectors, 3 neighbours": {
        "back_end": "local_density",
        "distance": "unit_euclidean",
        "k": 3,
    },
    "VarMin by band, K = 4": {"back_end": "varmin"},
    "VarMin by band, K = 1, log": {"back_end": "varmin", "density_k": 1, "varmin_log": True},
    "VarMin of the whole vector, K = 4": {"back_end": "varmin", "varmin_by_band": False},
    "VarMin by band, K = 4, one pooled bank": {"back_end": "varmin", "domains": "pooled"},
    "back_end=auto": {"back_end": AUTO},
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the grid's flags, and the one that joins results."""
    grid.define_flags(argv)
    flags.DEFINE_list("join", [], "outputs of earlier runs: only a table of them")


def main() -> None:
    """Prints and writes a row per method; the reference is REFERENCE."""
    output = Path(flags.FLAGS.output)
    if flags.FLAGS.join:
        sets = joined([Path(folder) for folder in flags.FLAGS.join])
        write_json(output / "methods_joined.json", {"sets": sets, **provenance()})
        print_line(markdown(sets))
        return
    config = grid.prepared(read_config(RunConfig, flags.FLAGS.config), output)
    # A file's own pooling is replaced, because views pool by themselves.
    config = with_values(config, {"frozen.pooling": "mean"})
    clips, _ = readable_clips(config, find_data(config, output))
    of_rows = views(config.frozen.block)
    embeddings = view_embeddings(config, clips, list(of_rows.values()), output / "views")
    rows = {"filter bank": grid.scored([embeddings[BARE]], grid.BASELINE, config.data.year)}
    for name, view in of_rows.items():
        rows[name] = row(name, embeddings[view.name], config.scoring, config.data.year)
    own = embeddings[of_rows[REFERENCE].name]
    for name, options in SCORINGS.items():
        scoring = dataclasses.replace(config.scoring, **options)
        rows[name] = row(name, own, scoring, config.data.year)
    found = verdict.compared(
        {name: of for name, of in rows.items() if of}, REFERENCE, config.data.year
    )
    write_json(output / "methods.json", found)
    write_provenance(output, {})
    print_table(text_table(*verdict.as_table(found), title=f"official score {config.data.year}, %"))
    print_line(found["verdict"])


def views(block: int) -> dict[str, View]:
    """Returns {row: block and pooling}, the reference first."""
    found = {REFERENCE: View(block, "mean", BY_BAND)}
    found |= {"mean": View(block, "mean"), "CLS": View(block, "cls")}
    found |= {f"{pooling} by band": View(block, pooling, BY_BAND) for pooling in POOLINGS}
    found |= {
        f"mean by band, {how}": View(block, "mean", dataclasses.replace(BY_BAND, conditioning=how))
        for how in CONDITIONINGS[1:]
    }
    every = dataclasses.replace(BY_BAND, blocks="all")
    joined = dataclasses.replace(BY_BAND, bands="joined")
    return found | {
        "mean by band, all blocks averaged": View(block, "mean", every),
        "mean by band, bands joined": View(block, "mean", joined),
        "last block, mean by band": View(-1, "mean", BY_BAND),
    }


def row(name: str, machines: Mapping[str, Embeddings], scoring: Scoring, year: int) -> Row | None:
    """Returns a row of the table; None, and a line on the screen, if the clips are too few."""
    try:
        if scoring.back_end != AUTO:
            return grid.scored([machines], scoring, year)
        parts = [
            grid.scored([{machine: machines[machine]}], own, year)
            for machine, (own, _) in chosen_scoring(machines, scoring).items()
        ]
    except InputError as error:
        print_line(f"{name} is left out: {error}")
        return None
    clips = [clip for part in parts for clip in part.clips]
    return verdict.row_of(clips, np.concatenate([part.scores for part in parts], axis=1), year)


def joined(folders: Sequence[Path]) -> dict[str, dict[str, dict]]:
    """Returns {set: {row: score, interval and verdict}} of several outputs.

    Raises:
        InputError: A folder has no result.
    """
    sets = {}
    for folder in folders:
        if not (folder / "methods.json").is_file():
            raise InputError(f"--join={folder}: no methods.json; finished runs are expected")
        cells = read_json(folder / "methods.json")["cells"]
        sets[folder.name] = {
            name: {key: of[key] for key in ("official_score", "interval", "verdict")}
            for name, of in cells.items()
        }
    return sets


def markdown(sets: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Returns a Markdown table of the scores of several sets, in percent, a column each."""
    lines = [f"| row | {' | '.join(sets)} |", "|" + "---|" * (len(sets) + 1)]
    for name in next(iter(sets.values())):
        cells = [_cell(cells[name]) if name in cells else "-" for cells in sets.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(of: Mapping) -> str:
    low, high = of["interval"]
    sign = {"better": " +", "worse": " -"}.get(of["verdict"], "")
    return f"{100 * of['official_score']:.1f} ({100 * low:.0f} to {100 * high:.0f}){sign}"


if __name__ == "__main__":
    run(main, define_flags)
