"""Tests whether the heat map points at the fault, on the synthetic factory, where the location of
each fault is known.

    python -m benchmarks.heat_map --output=benchmarks/results [--spacings=even,mel] \\
        [--weights=box] [--clips=4]

The normal clips of a machine form a patch bank, as in a detector, and clips with a fault are
mapped. Pointing accuracy is the share of the hottest cells that lie in the fault's support. Average
precision uses all cells, ranked by heat. Both are compared with chance, which is the support's
share of all cells, and with the plain difference: |log energies - those of the nearest normal
clip|. A cell of the filter bank is in the support if it contains a bin at which its filter has at
least half its maximum weight. --weights adds the tokens of an encoder, on its own filter bank. The
results are means with intervals by bootstrap over clips. The command writes heat_map.json and
heat_map.md.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from sklearn.metrics import average_precision_score

from asd_jax.data.machines import FAULTS, MACHINES
from asd_jax.data.synthesis import FactoryClip, factory_clip
from asd_jax.detector import heat_map
from asd_jax.detector.views import load_pipeline_or_eat
from asd_jax.features.filter_bank import filter_bank
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, write_json
from asd_jax.scoring.patch_bank import (
    FILTERS,
    FRAMES,
    Considered,
    PatchBank,
    energy_patches,
    over_cells,
)
from benchmarks.foreground import interval
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
MEASURES = ("pointing", "average precision")
WAYS = ("difference", "heat map")
COLUMNS = ("chance", *(f"{measure}, {way}" for measure in MEASURES for way in WAYS))


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("spacings", ["even", "mel"], "filter banks: even, mel, gammatone")
    flags.DEFINE_string("weights", None, "encoder whose tokens are compared too")
    flags.DEFINE_integer("clips", 4, "number of clips with each fault, for each machine")
    flags.DEFINE_integer("normal", 24, "number of clips in a machine's bank")
    flags.DEFINE_float("grade", 0.75, "grade of the faults, 0 (subtle) to 1 (strong)")
    flags.DEFINE_float("seconds", 2.0, "length of a clip")
    flags.DEFINE_string("output", None, "folder for heat_map.json and heat_map.md", required=True)


def main() -> None:
    """Writes a table for each filter bank, with sentences that state its result."""
    if FLAGS.clips < 2 or FLAGS.normal < 3:
        raise InputError("--clips must be at least 2 and --normal at least 3")
    found = {}
    for spacing in FLAGS.spacings:
        front_end = FrontEnd(spacing, simam=SimAM("none"))
        patches_of = functools.partial(_energies, front_end)
        found[f"patches, {spacing}"] = measured(front_end, patches_of, FRAMES, FILTERS)
    if FLAGS.weights:
        pipeline = load_pipeline_or_eat(FLAGS.weights)
        of = heat_map.grid(pipeline, tokens=True)
        name = f"tokens of {Path(FLAGS.weights).name}, {of.front_end.spacing}"
        patches_of = functools.partial(heat_map.patches, pipeline, True)
        found[name] = measured(of.front_end, patches_of, of.frames, of.filters)
    made = provenance()
    text = markdown(found, made)
    print(text)
    write_json(Path(FLAGS.output) / "heat_map.json", {**made, "found": found})
    with atomic_file(Path(FLAGS.output) / "heat_map.md") as file:
        file.write(text.encode())


def measured(
    front_end: FrontEnd, patches: Callable, frames: int, filters: int
) -> dict[str, dict[str, list[float]]]:
    """Returns {fault: {column: [mean, low, high]}} for one kind of patches.

    Args:
        front_end: The front end.
        patches: Function from waveforms "b s" to patches "b t f e".
        frames: Frames of the filter bank per patch.
        filters: Filters of the filter bank per patch.
    """
    values: dict[str, list] = {fault: [] for fault in FAULTS}
    for machine in MACHINES:
        normal = [_clip(machine, n) for n in range(FLAGS.normal)]
        considered = Considered()
        energies = [_log_energies(front_end, clip.wave) for clip in normal]
        levels = np.stack([one.mean(0) for one in energies])
        for number, clip in enumerate(normal):
            considered.add(patches(clip.wave[None]), number)
        bank = PatchBank.fit(*considered.bands())
        for fault, number in ((fault, number) for fault in FAULTS for number in range(FLAGS.clips)):
            clip = _clip(machine, 1000 + number, fault)
            own = _log_energies(front_end, clip.wave)
            support = support_cells(clip, front_end)
            nearest = energies[np.square(levels - own.mean(0)).sum(1).argmin()]
            heat = over_cells(bank.heat(patches(clip.wave[None])[0]), (frames, filters), *own.shape)
            maps = np.abs(own - nearest), heat
            pointing = [support[one == one.max()].mean() for one in maps]
            precision = [average_precision_score(support.ravel(), one.ravel()) for one in maps]
            values[fault].append([support.mean(), *pointing, *precision])
    values["all"] = [row for rows in values.values() for row in rows]
    return {
        f: {c: interval(v) for c, v in zip(COLUMNS, np.array(rows).T, strict=True)}
        for f, rows in values.items()
    }


def support_cells(clip: FactoryClip, front_end: FrontEnd) -> np.ndarray:
    """Returns the fault's support over frames and filters, "t f"."""
    bank = filter_bank(
        front_end.spacing,
        front_end.sample_rate,
        front_end.bins,
        front_end.low_hz,
        front_end.high_hz,
    )
    inside = (bank > 0) & (bank >= bank.max(1, keepdims=True) / 2)
    return clip.support.astype(int) @ inside.T.astype(int) > 0


def markdown(found: dict, made: dict) -> str:
    """Returns the tables in Markdown, each with its result in words.

    The text says whether pointing is twice chance, and better than the plain difference.
    """
    lines = [f"`{made['command']}` (commit {made['commit']}, {made['date']})"]
    for name, of in found.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"| fault | {' | '.join(COLUMNS)} |",
            "|---" * (1 + len(COLUMNS)) + "|",
        ]
        for fault, row in of.items():
            cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in row.values()]
            lines.append(f"| {' | '.join([fault, *cells])} |")
        heat, plain = (
            {fault: row[f"pointing, {way}"][0] for fault, row in of.items()} for way in WAYS[::-1]
        )
        weak = [fault for fault, row in of.items() if heat[fault] < 2 * row["chance"][0]]
        worse = [fault for fault in of if heat[fault] <= plain[fault]]
        lines += ["", f"Points less often than twice chance: {', '.join(weak) or 'nowhere'}."]
        lines += [f"Not above the plain difference: {', '.join(worse) or 'nowhere'}."]
    return "\n".join(lines) + "\n"


def _clip(machine: str, seed: int, fault: str = "") -> FactoryClip:
    speeds = MACHINES[machine].speeds["source"]
    speed = speeds[seed % len(speeds)]
    load = 1 + seed % 2
    seconds = FLAGS.seconds
    fault_of = {"fault_kind": fault, "grade": FLAGS.grade}
    return factory_clip(
        machine, speed=speed, load=load, **fault_of, clip_seconds=seconds, seed=seed
    )


def _log_energies(front_end, wave):
    return np.asarray(front_end.log_energies(wave[None]))[0]


def _energies(front_end, waves):
    return np.asarray(energy_patches(front_end.log_energies(waves)))


if __name__ == "__main__":
    run(main, define_flags)
