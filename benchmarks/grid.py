"""Runs every experiment: cells x seeds give a table, a page, and sentences that state what the
numbers support.

A cell is a set of config keys, frozen or fine-tuned, or an encoder of another framework. Each
(cell, seed) is embedded in its own folder, and is not computed again once it is there. A different
config, weights or recordings in an existing folder are an error. Cells that differ only in their
scoring share a folder. The same command continues an interrupted grid. The files in --output are
<name>.json (the same bytes however often the run was interrupted), timing.json (seconds, device,
command, commit, date) and report/index.html.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import operator
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from asd_jax.config import RunConfig, read_config, with_set_features
from asd_jax.reporting.page import Page, write_page
from asd_jax.reporting.table import print_table, text_table
from asd_jax.run.clips import find_data, readable_clips
from asd_jax.run.embed import embed_machine
from asd_jax.run.encoder import check_run, front_end_of_weights
from asd_jax.run.frozen import frozen_encoder
from asd_jax.run.manifest import summarize_recordings
from asd_jax.run.score import BASELINE, load_embeddings
from asd_jax.run.train import train_and_score
from asd_jax.run.workdir import BASELINE_FOLDER, Run
from asd_jax.runtime.command import value_of_flag
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.functions import named_function
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.scoring.anomaly_score import fit_sections, score_sections
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.training.weights import HOW_TO_GET_WEIGHTS, origin_entries
from benchmarks import own_encoder
from benchmarks.provenance import cost_section, machine, write_provenance
from benchmarks.verdict import Row, as_table, compared, result_sections, row_of, write_tables

# The rows that every table contains.
RANDOM = "random weights"
BARE = "filter bank"
CONFIGS = Path(__file__).parents[1] / "configs"
# The file that is written last in a folder of embeddings.
DONE = "seconds.json"
_REMEDY = "Use another --output (or --cells), or remove that folder"


class NotScored(InputError):
    """The embeddings of a cell cannot be scored as the cell asks."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        name: Name of the row.
        settings: Dotted config keys that the cell changes. A front end given here replaces the one
            stored with the weights.
        fine_tune: Whether to train; otherwise the weights are frozen.
        encoder: "package.module:function" to use instead of our encoder.
        bare: Whether to score the front end alone, without a model.
    """

    name: str
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    fine_tune: bool = False
    encoder: str = ""
    bare: bool = False

    def __post_init__(self):
        if any(key.startswith("features.") for key in self.settings):
            object.__setattr__(self, "settings", {"frozen.features": "config", **self.settings})

    def scoring(self, config: RunConfig) -> Scoring:
        """Returns the scoring of the cell's embeddings."""
        return BASELINE if self.bare else with_values(config, self.settings).scoring

    def folder(self, config: RunConfig) -> str:
        """Returns the name of the folder of the cell's embeddings.

        It depends on everything that the cell changes in the config, except the scoring.
        """
        keys = {
            key: value
            for key, value in self.settings.items()
            if operator.attrgetter(key)(config) != value
        }
        keys = {key: value for key, value in keys.items() if not key.startswith("scoring.")}
        kind = self.encoder or ("fine_tuned" if self.fine_tune else "frozen")
        words = [
            kind,
            *(f"{key.rpartition('.')[2]}={value}" for key, value in sorted(keys.items())),
        ]
        text = re.sub(r"[^\w=.+-]+", "_", " ".join(words))
        return (
            text
            if len(text) < 100
            else f"{text[:80]}_{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
        )


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of every experiment."""
    config_flags.DEFINE_config_file(
        "config",
        str(CONFIGS / "base.py"),
        "data, model and training; configs/base.py:smoke for seconds on synthetic machines",
    )
    flags.DEFINE_string(
        "weights", None, "EAT weights to start from; default: config.model.weights; none: random"
    )
    flags.DEFINE_list(
        "encoder",
        [],
        "package.module:function of another framework, in a row of its own; see encoders",
    )
    flags.DEFINE_integer("seeds", None, "how many; default 4, in smoke mode 1")
    flags.DEFINE_bool(
        "fine_tune", False, "train in every cell, instead of leaving the weights as they are"
    )
    flags.DEFINE_multi_string(
        "row", [], "name of a row to run, beside those of every table; default: all"
    )
    flags.DEFINE_string(
        "cells",
        None,
        "folder of runs and embeddings, which experiments can share; default: --output",
    )
    flags.DEFINE_string("output", None, "folder for tables and the page", required=True)


def run_grid(
    name: str,
    question: str,
    cells: Sequence[Cell],
    *,
    reference: str,
    notes: Sequence[str] = (),
    finished: Path | None = None,
) -> dict:
    """Runs every cell, prints and writes the table, the verdicts and the page, and returns the
    content of <name>.json.

    Args:
        name: Name of the experiment.
        question: The question that it answers, in a sentence.
        cells: The rows. The front end without a model and a model with random weights are added.
        reference: Name of the row that all rows are compared with.
        notes: Notes to print below the table.
        finished: A finished run whose embeddings every cell scores, instead of computing its own.
    """
    args = flags.FLAGS
    output = Path(args.output)
    added = [
        Cell(spec, encoder=spec)
        for spec in args.encoder
        if spec not in {cell.encoder for cell in cells}
    ]
    # A finished run has the filter bank's embeddings, but none of random weights.
    standing = standing_cells()[:1] if finished else standing_cells()
    cells = [*standing, *chosen([*cells, *added], args.row, reference)]
    config = read_config(RunConfig, args.config)
    if finished:
        if (own := Run(finished).config).is_file():
            # The scores must follow the edition of the recordings in the finished run.
            config = with_values(config, {"data.year": read_json(own)["data"]["year"]})
        row_of_cell = functools.partial(score_run, config=config, run=finished)
    else:
        folder = Path(args.cells or output)
        config = prepared(config, folder)
        seeds = number_of_seeds()
        row_of_cell = functools.partial(run_cell, config=config, seeds=seeds, output=folder)
    rows = {}
    not_scored: dict[str, str] = {}
    for number, cell in enumerate(cells, 1):
        print_line(f"{name}: cell {number} of {len(cells)}, {cell.name}")
        try:
            rows[cell.name] = row_of_cell(cell)
        except NotScored as error:
            # The others can still be compared with the reference, but not without it.
            if cell.name == reference:
                raise InputError(f"{reference}, the reference: {error}") from error
            not_scored[cell.name] = str(error)
    notes = [*notes, *(f"{cell}: not scored: {why}" for cell, why in not_scored.items())]
    found = compared(rows, reference, config.data.year) | {
        "question": question,
        "notes": list(notes),
        "not_scored": not_scored,
    }
    found["versions"] = {
        package: importlib.metadata.version(package) for package in ("jax", "flax", "numpy")
    }
    write_json(output / f"{name}.json", found)
    write_tables(output, name, found)
    seconds = {cell: row.seconds for cell, row in rows.items()}
    write_provenance(output, seconds)
    report(name, found, seconds, output)
    return found


def report(name: str, found: dict, seconds: Mapping[str, float], output: Path) -> None:
    """Prints the table of an experiment with its verdict and notes, and writes its page."""
    print_table(text_table(*as_table(found), title=f"{name}: official score {found['year']}, %"))
    lines = [found["verdict"], *found["notes"]]
    for line in lines:
        print_line(line)
    names = [*(f"{name}.{ending}" for ending in ("json", "csv", "md", "tex")), "timing.json"]
    files = [(file, f"../{file}") for file in names]
    sections = [*result_sections("Scores", found), cost_section(seconds)]
    page = Page(name, sections, [found["question"], *lines], files)
    write_page(output / "report" / "index.html", page)


def standing_cells() -> list[Cell]:
    """Returns the rows of every table: the front end without a model, and a model with random
    weights.
    """
    return [Cell(BARE, bare=True), Cell(RANDOM, {"model.encoder": "eat", "model.weights": "none"})]


def chosen(cells: Sequence[Cell], names: Sequence[str], reference: str) -> list[Cell]:
    """Returns the named cells and the reference, or all cells if no name is given.

    Raises:
        InputError: A name belongs to no cell.
    """
    if unknown := set(names) - {cell.name for cell in cells}:
        raise InputError(
            f"--row={min(unknown)}: no such row; known: {'; '.join(cell.name for cell in cells)}"
        )
    return [cell for cell in cells if not names or cell.name in (*names, reference)]


def prepared(config: RunConfig, output: Path) -> RunConfig:
    """Returns the config with its weights, after writing the synthetic machines once for all cells.

    Raises:
        InputError: The weights are neither given nor declared as "none", or there is no data.
    """
    # With a persistent cache, all seeds, and cells that differ only in their data, compile once.
    # The attribute is made at run time, so pyright does not know it.
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(output / "compiled"))
    weights = flags.FLAGS.weights or config.model.weights
    if not weights and not flags.FLAGS.encoder:
        raise InputError(
            "--weights=FILE.safetensors names the EAT weights to start from; none: random weights"
        )
    # No run writes its own page, because the grid has one.
    config = with_values(config, {"model.weights": weights or "none", "report.page": False})
    given = config_flags.get_override_values(flags.FLAGS["config"])
    config = with_set_features(config, given)
    # Rows with random weights must use the same front end.
    if config.features.statistics == "weights":
        own = front_end_of_weights(config.model.weights.replace("{seed}", "0"))
        measured = dataclasses.replace(
            config.features, statistics="given", mean=own.mean, std=own.std
        )
        config = dataclasses.replace(config, features=measured)
    check_run(config)
    find_data(config, output)
    if config.data.root == "factory":
        config = with_values(config, {"data.root": str(Run(output).factory)})
    return config


def run_cell(cell: Cell, config: RunConfig, seeds: int, output: Path) -> Row:
    """Returns the row of one cell with all its seeds; existing results are not computed again.

    Raises:
        InputError: Existing results belong to another config, other weights or other recordings.
    """
    name = cell.folder(config)
    if not cell.fine_tune and _fixed(cell, with_values(config, cell.settings).model.weights):
        # Nothing in this cell is random.
        seeds = 1
    folders = [output / "cells" / name / f"seed_{seed}" for seed in range(seeds)]
    seconds = 0.0
    for seed, folder in enumerate(folders):
        # The scoring is left out, because the embeddings do not depend on it.
        keys = {k: value for k, value in cell.settings.items() if not k.startswith("scoring.")}
        one = with_values(config, {**keys, "seed": config.seed + seed, "seeds": 1})
        weights = one.model.weights.replace("{seed}", str(seed))
        one = with_values(one, {"model.weights": weights})
        Run(folder, remedy=_REMEDY).check_config(to_dict(one))
        of = made_of(one, folder)
        if not (folder / DONE).is_file():
            begin = time.perf_counter()
            embed_cell(cell, one, folder)
            done = {
                "seconds": time.perf_counter() - begin,
                "device": machine()["device"],
                "made_of": of,
            }
            # This file is written last, so its presence marks the embeddings as complete.
            write_json(folder / DONE, done)
        done = read_json(folder / DONE)
        if other := [what for what, value in done.get("made_of", of).items() if value != of[what]]:
            raise InputError(
                f"{folder} was made of other {' and '.join(other)} than are there now. {_REMEDY}"
            )
        seconds += done["seconds"]
    runs = [Run(folder) for folder in folders]
    where = [run.baseline if cell.bare else run.embeddings for run in runs]
    row = scored(map(load_embeddings, where), cell.scoring(config), config.data.year)
    return dataclasses.replace(row, folder=str(where[0]), seconds=seconds)


def made_of(config: RunConfig, folder: Path) -> dict:
    """Returns what a config only refers to: the weights' SHA-256, and the number, names and sizes
    of the recordings.

    Raises:
        InputError: The weights or recordings do not exist.
    """
    name = config.model.weights
    clips = find_data(config, folder)
    try:
        weights = "none" if name == "none" else origin_entries(name)["sha256"]
    except OSError as error:
        raise InputError(f"{name}: no such weight file; {HOW_TO_GET_WEIGHTS}") from error
    return {"weights": weights, "recordings": summarize_recordings(clips)}


def score_run(cell: Cell, config: RunConfig, run: Path) -> Row:
    """Returns the row of a cell's scoring on the embeddings of all seeds of a finished run."""
    folders = sorted(run.glob("seed_*/embeddings")) or [Run(run).embeddings]
    own = [load_embeddings(folder / (BASELINE_FOLDER if cell.bare else "")) for folder in folders]
    row = scored(own, cell.scoring(config), config.data.year)
    return dataclasses.replace(row, folder=str(folders[0]))


def _fixed(cell: Cell, weights: str) -> bool:
    """Returns whether a frozen cell is the same for every seed.

    Weights named with {seed} are one file per seed.
    """
    return bool(cell.bare or cell.encoder or (weights != "none" and "{seed}" not in weights))


def embed_cell(cell: Cell, config: RunConfig, folder: Path) -> None:
    """Writes the embeddings of one seed of a cell into its folder."""
    if cell.fine_tune:
        train_and_score(config, folder, folder)
        return
    clips, _ = readable_clips(config, find_data(config, folder))
    if cell.encoder:
        function = named_function(cell.encoder, "--encoder")
    else:
        encoder, params = frozen_encoder(config, clips)
    run = Run(folder, remedy=_REMEDY)
    with run.claim(to_dict(config), clips):
        for machine in sorted({clip.machine for clip in clips}):
            own = [clip for clip in clips if clip.machine == machine]
            if cell.encoder:
                own_encoder.embed_machine(function, cell.encoder, config, own).save(
                    run.embeddings / f"{machine}.npz"
                )
            else:
                embeddings, bare = embed_machine(config, encoder, params, own)
                embeddings.save(run.embeddings / f"{machine}.npz")
                bare.save(run.baseline / f"{machine}.npz")


def scored(seeds: Iterable[Mapping[str, Embeddings]], scoring: Scoring, year: int) -> Row:
    """Returns the scores of every clip, given {machine: embeddings} of each seed of one system.

    Raises:
        NotScored: The scoring needs other clips than there are.
        InputError: The test clips have no labels.
    """
    scores = []
    for machines in seeds:
        of = {}
        for name, embeddings in machines.items():
            try:
                of[name] = score_sections(embeddings, fit_sections(embeddings, scoring))
            except InputError as error:
                raise NotScored(f"machine {name}: {error}") from error
        scores.append(np.concatenate([one.score for one in of.values()]))
        clips = [
            (machine, *clip)
            for machine, one in of.items()
            for clip in zip(
                one.clips.section, one.clips.domain, one.clips.label.tolist(), strict=True
            )
        ]
    return row_of(clips, np.array(scores), year)


def number_of_seeds() -> int:
    """Returns --seeds, by default 4, or 1 in smoke mode.

    Raises:
        InputError: The number is below one.
    """
    smoke = (value_of_flag(sys.argv, "config") or "").endswith(":smoke")
    if (seeds := flags.FLAGS.seeds if flags.FLAGS.seeds is not None else 1 if smoke else 4) < 1:
        raise InputError(f"--seeds={seeds} must be at least 1")
    return seeds
