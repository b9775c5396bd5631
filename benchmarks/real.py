"""Compares frozen encoders on every set of recordings under a folder, in one table.

    python -m benchmarks.real --root=DIR --output=DIR
    python -m benchmarks.real --root=DIR --sets=motors,pumps --weights=A.safetensors \\
        --encoder=my_package.my_module:embed --config.data.level=normalize --output=DIR

A set is a folder below --root that holds machines as `<machine>/{train,test}` or as a DCASE tree,
with labelled test clips; machines without labels are left out. The rows are the filter bank alone,
random weights, the encoder that comes with the package, the --weights and the --encoder functions;
--config.scoring.* applies to all but the filter bank, and --back_ends gives each a row per back
end. Where a set has both domains, its
figure is the official score of --config.data.year (2024), otherwise the mean of AUC and pAUC by the
rule of 2020. The first --config.data.clip_seconds (10) of each clip are used. The same command
continues an interrupted one. The command writes real.json, real.md and timing.json to --output.
Whoever chooses a row by this table has used the labels of its test clips.
"""

import contextlib
import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.config import RunConfig, read_config, with_set_features
from asd_jax.data.audio import audio_format
from asd_jax.data.clips import Clip, find_clips
from asd_jax.data.dcase import check_machines
from asd_jax.reporting.table import percent
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, write_json
from asd_jax.runtime.functions import named_function
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.official_score import YEARS
from asd_jax.training.weights import load_pipeline
from benchmarks import grid
from benchmarks.grid import BARE, RANDOM, Cell
from benchmarks.provenance import provenance, write_provenance
from benchmarks.verdict import compared

BUNDLED = "box"
WITHOUT_DOMAINS = 2020  # the year of the rule that needs no domains
FIRST_OF_RULE = 2022  # the rule with both domains has not changed since


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    config_flags.DEFINE_config_file(
        "config", str(grid.CONFIGS / "base.py"), "scoring and reading of the recordings"
    )
    flags.DEFINE_string("root", None, "folder of sets of recordings", required=True)
    flags.DEFINE_list("sets", [], "names of the sets to use; default: all")
    flags.DEFINE_list("weights", [], "files of further encoders")
    flags.DEFINE_list("encoder", [], "package.module:function of other frameworks")
    flags.DEFINE_list("back_ends", ["knn"], "one row of each encoder for each")
    flags.DEFINE_integer("seeds", 3, "number of seeds of random weights", lower_bound=1)
    flags.DEFINE_string("output", None, "folder of the tables", required=True)


def main() -> None:
    """Prints and writes the table."""
    args = flags.FLAGS
    output = Path(flags.FLAGS.output)
    for name in args.encoder:
        named_function(name, "--encoder")
    given = config_flags.get_override_values(args["config"])
    config = with_set_features(read_config(RunConfig, args.config), given)
    # The filter bank and foreign encoders are not scored by these weights, but need a front end.
    weights = config.model.weights or BUNDLED
    config = with_values(config, {"report.page": False, "model.weights": weights})
    cells = rows_of(args.weights, args.encoder, args.back_ends)
    found: dict[str, dict] = {}
    seconds: dict[str, float] = {}
    for name, of_set in sets_below(Path(args.root), config, args.sets).items():
        rows = {}
        for cell in cells:
            print_line(f"{name}: {cell.name}")
            try:
                rows[cell.name] = grid.run_cell(cell, of_set, args.seeds, output / "sets" / name)
            except grid.NotScored as error:
                if cell.bare:
                    raise InputError(f"{name}: {BARE}, the reference: {error}") from error
                print_line(f"{name}: {cell.name}: not scored: {error}")
                continue
            seconds[f"{name}, {cell.name}"] = rows[cell.name].seconds
        found[name] = compared(rows, BARE, of_set.data.year)
    write_json(output / "real.json", found)
    write_provenance(output, seconds)
    text = markdown(found, provenance())
    with atomic_file(output / "real.md") as file:
        file.write(text.encode())
    print_line(text)


def rows_of(weights: Sequence[str], functions: Sequence[str], back_ends: Sequence[str]):
    """Returns the rows of the table.

    Random weights have the sizes and the front end of the encoder that comes with the package.
    """
    own = load_pipeline(BUNDLED).config
    sizes = {
        "model.size": "tiny",
        "model.width": own.backbone.embed_dim,
        "model.depth": own.backbone.depth,
        "model.heads": own.backbone.num_heads,
        "features.spacing": own.front_end.spacing,
        "features.mean": own.front_end.mean,
        "features.std": own.front_end.std,
        "features.simam": "none",
        "frozen.block": own.pooling.block,
        "frozen.pooling": own.pooling.kind,
    }
    systems = [Cell(RANDOM, {**sizes, "model.weights": "none"})]
    systems += [Cell("encoder of the package", {"model.weights": BUNDLED})]
    systems += [Cell(name, {"model.weights": name}) for name in weights]
    systems += [Cell(name, encoder=name) for name in functions]
    several = len(back_ends) > 1
    return [Cell(BARE, bare=True)] + [
        dataclasses.replace(
            cell,
            name=f"{cell.name}, {back_end}" if several else cell.name,
            settings={**cell.settings, "scoring.back_end": back_end},
        )
        for cell in systems
        for back_end in back_ends
    ]


def sets_below(root: Path, config: RunConfig, names: Sequence[str] = ()) -> dict[str, RunConfig]:
    """Returns the config of each set below a folder, of all or of the named ones.

    A folder that is no set is named in a line.

    Raises:
        InputError: there is no such folder, or a named set is missing or cannot be scored.
    """
    if not root.is_dir():
        raise InputError(f"--root={root}: no such folder")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    if missing := sorted(set(names) - set(folders)):
        raise InputError(f"--sets={missing[0]}: not in {root}; there: {', '.join(folders)}")
    found = {}
    for name in names or folders:
        try:
            found[name] = config_of(config, folders[name])
        except InputError as error:
            if names:
                raise
            print_line(f"{name}: left out ({str(error).splitlines()[0]})")
    if not found:
        raise InputError(f"--root={root}: no set of machines with labelled test clips below it")
    return found


def config_of(config: RunConfig, root: Path) -> RunConfig:
    """Returns the config of one set: its machines, the length of its clips and the rule that can
    score it.

    Raises:
        InputError: no machine has labelled test clips, or the folder holds none.
    """
    clips = find_clips(root, config.data.machine_names)
    machines = scorable(clips)
    clips = [clip for clip in clips if clip.machine in machines]
    normals: dict[tuple[str, str], set[str]] = {}
    for clip in clips:
        if clip.split == "test" and clip.label == 0:
            normals.setdefault((clip.machine, clip.section), set()).add(clip.domain)
    both = all(domains == {"source", "target"} for domains in normals.values())
    values = {
        "data.root": str(root),
        "data.year": edition_of(machines, config.data.year) if both else WITHOUT_DOMAINS,
        "data.machines": ",".join(machines),
        "data.clip_seconds": min(
            max(audio_format(clip.path)[0] for clip in clips), config.data.clip_seconds
        ),
    }
    return with_values(config, values)


def edition_of(machines: Sequence[str], year: int) -> int:
    """Returns the year, or the newest edition that had these machines and has its rule."""
    for edition in (year, *reversed(range(FIRST_OF_RULE, YEARS.stop))):
        with contextlib.suppress(InputError):
            check_machines(machines, edition)
            return edition
    return year


def scorable(clips: Sequence[Clip]) -> list[str]:
    """Returns the machines of which every section has normal and anomalous test clips, and no
    others.

    The rest is named in a line.

    Raises:
        InputError: there is no such machine.
    """
    labels: dict[str, dict[str, set[int]]] = {}
    for clip in clips:
        of_section = labels.setdefault(clip.machine, {}).setdefault(clip.section, set())
        if clip.split == "test":
            of_section.add(clip.label)
    found = [m for m, sections in labels.items() if all(s == {0, 1} for s in sections.values())]
    if not found:
        raise InputError("no machine has labelled test clips, normal and anomalous")
    if others := sorted(set(labels) - set(found)):
        print_line(f"left out, not every test clip is labelled: {', '.join(others)}")
    return sorted(found)


def markdown(found: Mapping[str, Mapping], made: Mapping[str, str]) -> str:
    """Returns the table of all sets as Markdown.

    A cell has the figure, its 95 % interval and, in brackets, AUC and pAUC. The mean is over sets
    with both domains, for a row that has all of them.
    """
    both = [name for name, of in found.items() if of["year"] != WITHOUT_DOMAINS]
    names = dict.fromkeys(name for of in found.values() for name in of["cells"])
    lines = [
        f"Percent; 95 % intervals. {made['device']}, {made['date']}, commit {made['commit']}:",
        f"`{made['command']}`",
        "",
        f"| | mean of {len(both)} | {' | '.join(found)} |",
        "|" + "---|" * (len(found) + 2),
    ]
    for name in names:
        cells = [found[one]["cells"].get(name) for one in both]
        whole = bool(cells) and None not in cells
        mean = percent(statistics.fmean(of["official_score"] for of in cells)) if whole else "-"
        columns = [
            _cell(of["cells"][name]) if name in of["cells"] else "-" for of in found.values()
        ]
        lines.append(f"| {name} | {mean} | {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping) -> str:
    low, high = (percent(value) for value in row["interval"])
    columns = list(row["machines"].values())
    means = (
        statistics.fmean(values[column] for values in columns if values.get(column) is not None)
        for column in columns[0]
    )
    deviation = f" ± {percent(row['deviation'])}" if row["deviation"] is not None else ""
    parts = "/".join(re.sub(r"^0", "", f"{value:.3f}") for value in means)
    return f"{percent(row['official_score'])}{deviation} [{low}, {high}] ({parts})"


if __name__ == "__main__":
    run(main, define_flags)
