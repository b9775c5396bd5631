"""Does the heat map point at the fault? On the synthetic factory, whose faults' places are known.

    python -m benchmarks.heat_map --output=DIR [--spacings=even,mel] [--weights=FILE] [--clips=4] [--normal=24]

A machine's normal clips make a patch bank, as in a detector; clips with a fault are mapped. Pointing accuracy: the
share of the hottest cells that lie in the fault's support. Average precision: of all cells, ranked by heat. Both
against chance, the support's share of all cells, and against the plain difference: |log energies - those of the nearest
normal clip|. A cell of the filter bank is in the support if a bin is on which its filter has at least half its greatest
weight. --weights adds the tokens of an encoder, on its own filter bank. Writes heat_map.json.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.command import run
from asd_jax.data.factory import FactoryClip, factory_clip
from asd_jax.data.machines import FAULTS, MACHINES
from asd_jax.errors import InputError
from asd_jax.features.filter_bank import filter_bank
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.files import write_json
from asd_jax.models.eat import PATCH
from asd_jax.scoring.patch_bank import FILTERS, FRAMES, Considered, PatchBank, energy_patches, over_cells
from benchmarks.foreground import interval

FLAGS = flags.FLAGS
MEASURES = ("pointing", "average precision")


def define_flags(argv: Sequence[str]) -> None:
    """The flags of the command."""
    flags.DEFINE_list("spacings", ["even", "mel"], "filter banks: even, mel, gammatone")
    flags.DEFINE_string("weights", None, "encoder whose tokens are compared too")
    flags.DEFINE_integer("clips", 4, "with each fault, of every machine")
    flags.DEFINE_integer("normal", 24, "clips in a machine's bank")
    flags.DEFINE_float("grade", 0.75, "of the faults, 0 (subtle) to 1 (strong)")
    flags.DEFINE_float("seconds", 2.0, "length of a clip")
    flags.DEFINE_string("output", None, "folder for heat_map.json", required=True)


def main() -> None:
    """A table for each filter bank, and what it says in words."""
    from asd_jax.reporting.table import print_table, text_table

    if FLAGS.clips < 2 or FLAGS.normal < 3:
        raise InputError("--clips must be at least 2 and --normal at least 3")
    ways = {
        spacing: (FrontEnd(spacing, simam=SimAM("none")), _energies, (FRAMES, FILTERS)) for spacing in FLAGS.spacings
    }
    if FLAGS.weights:
        from asd_jax.detector.views import load_pipeline_or_eat, views

        pipeline = load_pipeline_or_eat(FLAGS.weights)
        tokens = (pipeline.config.front_end, lambda _, wave: views(pipeline, wave[None])[2][0], (PATCH, PATCH))
        ways[f"tokens of {Path(FLAGS.weights).name}"] = tokens
    found = {}
    for name, way in ways.items():
        found[name] = measured(*way)
        columns = ["fault", "chance", *(f"{m} ({kind})" for m in MEASURES for kind in ("difference", "heat map"))]
        rows = [
            [fault, *(f"{v[0]:.3f} ({v[1]:.3f} to {v[2]:.3f})" for v in of.values())]
            for fault, of in found[name].items()
        ]
        print_table(text_table(columns, rows, title=name))
        print(verdict(name, found[name]))
        write_json(Path(FLAGS.output) / "heat_map.json", found)


def measured(front_end: FrontEnd, patches, patch: tuple[int, int]) -> dict[str, dict[str, list[float]]]:
    """-> {fault: {"chance", and of each measure the difference's and the heat map's: [mean, low, high]}}."""
    from sklearn.metrics import average_precision_score

    values: dict[str, list] = {fault: [] for fault in FAULTS}
    for machine in MACHINES:
        normal, considered = [_clip(machine, n) for n in range(FLAGS.normal)], Considered()
        energies = [_log_energies(front_end, clip) for clip in normal]
        levels = np.stack([one.mean(0) for one in energies])
        for number, clip in enumerate(normal):
            considered.add(patches(front_end, clip.wave), number)
        bank = PatchBank.fit(*considered.bands())
        for fault, number in ((fault, number) for fault in FAULTS for number in range(FLAGS.clips)):
            clip = _clip(machine, 1000 + number, fault)
            own, support = _log_energies(front_end, clip), support_cells(clip, front_end)
            nearest = energies[np.square(levels - own.mean(0)).sum(1).argmin()]
            heat = over_cells(bank.heat(patches(front_end, clip.wave)), patch, *own.shape)
            maps = np.abs(own - nearest), heat
            pointing = [support[one == one.max()].mean() for one in maps]
            precision = [average_precision_score(support.ravel(), one.ravel()) for one in maps]
            values[fault].append([support.mean(), *pointing, *precision])
    names = ["chance", *(f"{measure}, {way}" for measure in MEASURES for way in ("difference", "heat map"))]
    return {f: {n: interval(v) for n, v in zip(names, np.array(of).T, strict=True)} for f, of in values.items()}


def support_cells(clip: FactoryClip, front_end: FrontEnd) -> np.ndarray:
    """The fault's support over frames and filters, "t f"."""
    bank = filter_bank(front_end.spacing, front_end.sample_rate, front_end.bins, front_end.low_hz, front_end.high_hz)
    inside = (bank > 0) & (bank >= bank.max(1, keepdims=True) / 2)
    return clip.support.astype(int) @ inside.T.astype(int) > 0


def verdict(name: str, found: dict) -> str:
    """In words: is pointing twice chance for every fault, and better than the difference on average?"""
    weak = [fault for fault, of in found.items() if of["pointing, heat map"][0] < 2 * of["chance"][0]]
    means = {way: np.mean([of[f"pointing, {way}"][0] for of in found.values()]) for way in ("heat map", "difference")}
    return (
        f"{name}: pointing is less than twice chance for {', '.join(weak) or 'no fault'}; on average "
        f"{means['heat map']:.3f}, of the plain difference {means['difference']:.3f}."
    )


def _clip(machine: str, seed: int, fault: str = "") -> FactoryClip:
    speeds = MACHINES[machine].speeds["source"]
    condition = {"speed": speeds[seed % len(speeds)], "load": 1 + seed % 2}
    return factory_clip(
        machine, **condition, fault_kind=fault, grade=FLAGS.grade, clip_seconds=FLAGS.seconds, seed=seed
    )


def _log_energies(front_end, clip):
    return np.asarray(front_end.log_energies(clip.wave[None]))[0]


def _energies(front_end, wave):
    return np.asarray(energy_patches(front_end.log_energies(wave[None])))[0]


if __name__ == "__main__":
    run(main, define_flags)
