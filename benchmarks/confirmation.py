"""Tests encoder and detector once on machines of which there are only a few recordings.

    python -m benchmarks.confirmation --root=DIR --output=DIR

DIR holds folders of machines below `<edition>/<machine>/{train,test}`, with normal and anomalous
recordings named as in DCASE; a machine needs three normal ones. docs/confirmation.md says what was
expected before the recordings were used. Measured are, for the filter bank, random weights (mean of
three seeds) and the encoder of the package:

    type      each normal recording against those of all other machines: AUC of the cosine distance
              to the nearest other normal recording of the machine
    fault     likewise against the anomalous recordings of its machine

and, for each machine with ten normal recordings or more below train, the detector as it comes: AUC,
false alarms and faults found of its test recordings. The command writes confirmation.json.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from jaxtyping import Float

from asd_jax.data.audio import read_clip
from asd_jax.data.clips import Clip, parse_clip
from asd_jax.data.windows import cut_windows
from asd_jax.detector.detector import Detector
from asd_jax.detector.views import views
from asd_jax.features.front_end import FrontEnd
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.training.weights import BOX, Pipeline, load_pipeline, random_eat
from benchmarks.provenance import provenance

FEWEST = 3  # normal recordings of a machine
FEWEST_TO_FIT = 10  # normal recordings below train
SEEDS = 3
WINDOW_SECONDS = 10

# {system: a vector per recording}
Systems = Mapping[str, Sequence[Float[np.ndarray, "n e"]]]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("root", None, "folder of editions", required=True)
    flags.DEFINE_string("output", None, "folder for confirmation.json", required=True)


def main() -> None:
    """Prints and writes what was measured."""
    args = flags.FLAGS
    machines = machines_below(Path(args.root))
    clips = [clip for of in machines.values() for clip in of]
    machine = np.array([name for name, of in machines.items() for _ in of])
    anomalous = np.array([clip.label == 1 for clip in clips])
    found: dict = {"machines": {name: len(of) for name, of in machines.items()}}
    for name, vectors in embedded(clips).items():
        each = [separations(of, machine, anomalous) for of in vectors]
        found[name] = {
            what: {of: statistics.fmean(one[what][of] for one in each) for of in each[0][what]}
            for what in ("type", "fault")
        }
        means = {what: statistics.fmean(of.values()) for what, of in found[name].items()}
        found[name]["mean"] = means
        print_line(f"{name}: type {means['type']:.3f}, fault {means['fault']:.3f}")
    found["detector"] = {}
    for name, of in machines.items():
        train = [clip for clip in of if clip.split == "train"]
        if len(train) >= FEWEST_TO_FIT:
            found["detector"][name] = detected(train, [clip for clip in of if clip.split == "test"])
            print_line(f"detector of {name}: {found['detector'][name]}")
    write_json(Path(args.output) / "confirmation.json", {**found, **provenance()})


def machines_below(root: Path) -> dict[str, list[Clip]]:
    """Returns {edition/machine: its recordings} of the machines with enough normal recordings.

    Raises:
        InputError: there is no such machine, or only one.
    """
    if not root.is_dir():
        raise InputError(f"--root={root}: no such folder")
    found: dict[str, list[Clip]] = {}
    # A machine may have no recording below train, which a data set must have.
    for path in sorted(root.glob("*/*/*/*.wav")):
        edition, machine, split = path.relative_to(root).parts[:3]
        if split in ("train", "test"):
            found.setdefault(f"{edition}/{machine}", []).append(parse_clip(path, machine, split))
    found = {
        name: of for name, of in found.items() if sum(clip.label != 1 for clip in of) >= FEWEST
    }
    if len(found) < 2:
        raise InputError(f"--root={root}: two machines with {FEWEST} normal recordings are needed")
    return found


def embedded(clips: Sequence[Clip]) -> Systems:
    """Returns {system: its vectors of the recordings, for each seed}."""
    box = load_pipeline(BOX)
    pipelines: list[Pipeline] = [box]
    for seed in range(SEEDS):
        params = box.params | {"eat": random_eat(box.config.eat, seed)}
        pipelines.append(dataclasses.replace(box, params=params))
    rate = FrontEnd.sample_rate
    rows: list[list[np.ndarray]] = [[] for _ in pipelines]
    level = []
    for clip in clips:
        length = WINDOW_SECONDS * rate
        windows = cut_windows(read_clip(clip.path, sample_rate=rate), length, length)[0]
        for pipeline, of in zip(pipelines, rows, strict=True):
            vectors = views(pipeline, windows, with_rhythm=False)[0]
            of.append(vectors["encoder"].mean(0).ravel())
        level.append(vectors["level"].mean(0))
    own, *random = (np.stack(of) for of in rows)
    return {"filter bank": [np.stack(level)], "random weights": random, "box": [own]}


def separations(
    vectors: Float[np.ndarray, "n e"], machine: np.ndarray, anomalous: np.ndarray
) -> dict[str, dict[str, float]]:
    """Returns {"type" or "fault": {machine: AUC}}.

    Args:
        vectors: "n e", one per recording.
        machine: name of the machine, "n".
        anomalous: whether a recording is anomalous, "n".
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    found: dict[str, dict[str, float]] = {"type": {}, "fault": {}}
    for name in sorted(set(machine)):
        normal = np.flatnonzero((machine == name) & ~anomalous)
        others = {"type": machine != name, "fault": (machine == name) & anomalous}
        for what, other in others.items():
            if other.any():
                found[what][name] = _left_out(distance, normal, np.flatnonzero(other))
    return found


def _left_out(distance: np.ndarray, normal: np.ndarray, other: np.ndarray) -> float:
    """Returns the mean AUC of others against each normal recording, which is not in the bank."""
    values = []
    for held_out in normal:
        # Both are compared with the same bank, as a larger one would make the others look nearer.
        bank = normal[normal != held_out]
        scores = distance[np.ix_(np.append(other, held_out), bank)].min(1)
        label = np.append(np.ones(len(other), int), 0)
        values.append(float(auc(*tie_groups(label, scores))))
    return statistics.fmean(values)


def detected(train: Sequence[Clip], test: Sequence[Clip]) -> dict[str, float]:
    """Returns how the detector fitted to the training recordings judges the test recordings."""
    rate = FrontEnd.sample_rate
    waves = [read_clip(clip.path, sample_rate=rate) for clip in train]
    detector = Detector.fit(waves, rate, weights=BOX, window_seconds=None)
    scores = np.array(
        [detector.score(read_clip(clip.path, sample_rate=rate), rate) for clip in test]
    )
    label = np.array([clip.label for clip in test])
    return {
        "auc": float(auc(*tie_groups(label, scores))),
        "false_alarms": int(np.sum(scores[label == 0] > detector.threshold)),
        "normal": int(np.sum(label == 0)),
        "found": int(np.sum(scores[label == 1] > detector.threshold)),
        "faults": int(np.sum(label == 1)),
    }


if __name__ == "__main__":
    run(main, define_flags)
