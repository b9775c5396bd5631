"""Tests claims 2 and 3 without a data set: does SimAM raise the machine over the background, and
faults of which size?

    python -m benchmarks.foreground --output=DIR [--clips=20] [--seconds=4]

The clips come from the synthetic factory, where machine and background are known separately. The
first test asks whether cells in which the machine is louder than the background get higher weights
than the others; the measure is the ratio of the mean weights in dB, by machine and mode. The second
test makes a square of cells of a healthy clip louder, and asks whether the global or the local mode
gives it more weight than its surroundings; the measure is the AUC of the weights for "inside the
square", by size. The intervals come from a bootstrap over clips. The command writes foreground.json
and the page.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Bool, Float

from asd_jax.data.machines import MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.features.filter_bank import normalize
from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd
from asd_jax.features.simam import LOCAL_TILE, simam_weights
from asd_jax.reporting import plots
from asd_jax.reporting.page import Page, Plot, Section, Table, write_page
from asd_jax.reporting.table import print_table, text_table
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.auc import auc, tie_groups
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
TILES = {"global": None, "local": LOCAL_TILE}
# Frames and filters of the louder square.
SIZES = (4, 8, 16, 32, 64, 96)
# The gain of the square's energy.
LOUDER_DB = 6.0


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("clips", 20, "number of clips of each machine")
    flags.DEFINE_float("seconds", 4.0, "length of a clip")
    flags.DEFINE_enum("spacing", "even", ["even", "mel", "gammatone"], "spacing of the filter bank")
    flags.DEFINE_integer("seed", 0, "seed of the clips and squares")
    flags.DEFINE_string("output", None, "folder for foreground.json and the page", required=True)


def main() -> None:
    """Prints and writes two tables and their verdicts."""
    if FLAGS.clips < 2 or FLAGS.seconds < 1:
        raise InputError("--clips must be at least 2 and --seconds at least 1")
    front_end = FrontEnd(spacing=FLAGS.spacing)
    clips = {
        m: [_clip(m, FLAGS.seconds, FLAGS.seed + n) for n in range(FLAGS.clips)] for m in MACHINES
    }
    found: dict[str, Any] = {
        "machine_over_background_db": foreground(clips, front_end),
        "squares": squares(clips, front_end),
    }
    tables = [
        (
            ["machine", *TILES],
            _cells(found["machine_over_background_db"], "{:+.2f}"),
            "machine over background, dB",
        ),
        (
            ["square", *TILES, "local - global"],
            _cells(found["squares"], "{:.3f}"),
            "louder square, AUC of the weights",
        ),
    ]
    for columns, rows, title in tables:
        print_table(text_table(columns, rows, title=title))
    found["verdicts"] = verdicts(found)
    for line in found["verdicts"]:
        print(line)
    write_json(Path(FLAGS.output) / "foreground.json", found | provenance())
    _write_page(found, tables)


def foreground(clips: dict, front_end: FrontEnd) -> dict[str, dict[str, list[float]]]:
    """Returns {machine: {mode: [mean, low, high]}} of the weight of the machine's cells relative to
    the background's, in dB.
    """
    found = {}
    for machine, own in clips.items():
        masks = [
            _energies(c.machine_stem, front_end) > _energies(c.background, front_end) for c in own
        ]
        found[machine] = {}
        for mode, tile in TILES.items():
            ratios = []
            for clip, mask in zip(own, masks, strict=True):
                weights = _weights(_energies(clip.wave, front_end), front_end, tile)
                ratios.append(20 * np.log10(weights[mask].mean() / weights[~mask].mean()))
            found[machine][mode] = interval(np.array(ratios))
    return found


def squares(clips: dict, front_end: FrontEnd) -> dict[str, dict[str, list[float]]]:
    """Returns {size: {mode: [mean, low, high]}} of the AUC of the weights for the cells of a louder
    square, with the difference between the modes.
    """
    rng = np.random.default_rng(FLAGS.seed)
    found = {}
    energies = [_energies(clip.wave, front_end) for own in clips.values() for clip in own]
    for size in SIZES:
        values: dict[str, list[float]] = {mode: [] for mode in TILES}
        for one in energies:
            inside = _square(one.shape, size, rng)
            louder = one + inside * LOUDER_DB * np.log(10) / 10
            for mode, tile in TILES.items():
                weights = _weights(louder, front_end, tile)
                values[mode].append(float(auc(*tie_groups(inside.ravel(), weights.ravel()))))
        difference = np.subtract(values["local"], values["global"])
        found[f"{size} x {size}"] = {mode: interval(np.array(v)) for mode, v in values.items()}
        found[f"{size} x {size}"]["local - global"] = interval(difference)
    return found


def interval(values: Float[np.ndarray, "n"], replicates: int = 1000) -> list[float]:
    """Returns the mean of one value per clip, and the percentiles 2.5 and 97.5 of means over
    resampled clips.
    """
    drawn = np.random.default_rng(0).integers(len(values), size=(replicates, len(values)))
    return [float(values.mean()), *np.quantile(values[drawn].mean(1), (0.025, 0.975)).tolist()]


def verdicts(found: dict) -> list[str]:
    """Returns sentences that state what the intervals support."""
    sentences = []
    for mode in TILES:
        of = {machine: row[mode] for machine, row in found["machine_over_background_db"].items()}
        raised = [m for m, v in of.items() if v[1] > 0]
        lowered = [m for m, v in of.items() if v[2] < 0]
        sentences.append(
            f"{mode} SimAM raises the machine over the background for "
            f"{', '.join(raised) or 'no machine'}; lowers it for {', '.join(lowered) or 'none'}."
        )
    of = {size: row["local - global"] for size, row in found["squares"].items()}
    local = [s for s, v in of.items() if v[1] > 0]
    whole = [s for s, v in of.items() if v[2] < 0]
    return sentences + [
        f"Local better than global for squares of {', '.join(local) or 'no size'}; worse for "
        f"{', '.join(whole) or 'none'}."
    ]


def _clip(machine, seconds, seed):
    return factory_clip(
        machine, domain=("source", "target")[seed % 2], clip_seconds=seconds, seed=seed
    )


def _energies(wave, front_end) -> Float[np.ndarray, "t f"]:
    return np.asarray(front_end.log_energies(wave[None].astype(np.float32))[0])


def _weights(energies, front_end, tile) -> Float[np.ndarray, "t f"]:
    """Returns SimAM's weights of the real frames, computed as in the encoder: zeros appended, then
    normalised.
    """
    padded = np.pad(energies, ((0, -len(energies) % FRAME_MULTIPLE), (0, 0)))
    weights = simam_weights(
        normalize(jnp.asarray(padded[None]), front_end.mean, front_end.std), tile=tile
    )
    return np.asarray(weights)[0, : len(energies)]


def _square(shape, size, rng) -> Bool[np.ndarray, "t f"]:
    inside = np.zeros(shape, bool)
    t, f = (rng.integers(0, length - size + 1) for length in shape)
    inside[t : t + size, f : f + size] = True
    return inside


def _cells(rows, form) -> list[list[str]]:
    return [
        [
            name,
            *(
                f"{form.format(v[0])} ({form.format(v[1])} to {form.format(v[2])})"
                for v in row.values()
            ),
        ]
        for name, row in rows.items()
    ]


def _write_page(found, tables) -> None:
    shown = {mode: [row[mode][0] for row in found["squares"].values()] for mode in TILES}
    plot = Plot(
        plots.curves(SIZES, shown, "side of the square (cells)", "AUC of the weights"),
        "By size of the square.",
    )
    sections = [
        Section(title, [Table(columns, rows, "Mean and 95 % interval.")])
        for columns, rows, title in tables
    ]
    sections[1] = Section(sections[1].title, [*sections[1].parts, plot])
    write_page(
        Path(FLAGS.output) / "report" / "index.html",
        Page("What SimAM raises", sections, found["verdicts"]),
    )


if __name__ == "__main__":
    run(main, define_flags)
