"""Measures how well faults of timing are found, and what the view "rhythm" costs steady faults.

    python -m benchmarks.timing --output=DIR

Detectors of the filter bank are fitted to 20 normal clips of a machine with one beat a cycle, once
of one session and once of five sessions, in several draws. Other clips, of further sessions in the
second case, are scored twice: by all views, and without the view "rhythm". The command prints the
AUC of every fault in both cases, and writes timing.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.machines import FAULTS, TIMING_FAULTS
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.detector import Detector
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.back_ends.fusion import fused
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
RATE = 16000
FITTED = 20
FITTED_SESSIONS = 5
OTHER_SESSIONS = 10


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("machines", ["valve", "press"], "Machines of the factory.")
    flags.DEFINE_integer(
        "draws", 5, "Number of draws of the normal clips that are fitted.", lower_bound=1
    )
    flags.DEFINE_integer(
        "clips", 40, "Number of normal clips, and of clips of each fault.", lower_bound=2
    )
    flags.DEFINE_float("seconds", 4.0, "Length of a clip.", lower_bound=1.0)
    flags.DEFINE_string("output", None, "Folder for timing.json.", required=True)


def main() -> None:
    """Prints a line for each machine and kind of sessions, and writes all of them."""
    rows = [
        measured(machine, by_sessions, FLAGS.draws, FLAGS.clips, FLAGS.seconds)
        for machine in FLAGS.machines
        for by_sessions in (False, True)
    ]
    write_json(Path(FLAGS.output) / "timing.json", {"rows": rows, **provenance()})


def measured(
    machine: str,
    by_sessions: bool,
    draws: int,
    clips: int,
    seconds: float,
    faults: Sequence[str] = FAULTS + TIMING_FAULTS,
) -> dict:
    """Returns {fault: mean AUC with the view "rhythm" and without it} of one machine.

    Args:
        machine: a machine of the factory.
        by_sessions: whether the clips are of several sessions, and others are scored.
        draws: number of draws of the normal clips that are fitted.
        clips: number of normal clips that are scored, and of those of each fault.
        seconds: length of a clip.
        faults: kinds of faults.
    """

    def clip(seed: int, session: int, fault: str = "") -> np.ndarray:
        return factory_clip(
            machine,
            seed=seed,
            session=session if by_sessions else None,
            fault_kind=fault,
            grade=(seed % 5) / 4,  # from subtle to strong
            clip_seconds=seconds,
        ).wave

    kinds = ("", *faults)
    others = np.stack(
        [
            clip(100_000 * (1 + k) + n, 1000 + n % OTHER_SESSIONS, kind)
            for k, kind in enumerate(kinds)
            for n in range(clips)
        ]
    )
    found: dict[str, list] = {kind: [] for kind in kinds[1:]}
    for draw in range(draws):
        days = [n % FITTED_SESSIONS for n in range(FITTED)]
        waves = [clip(1000 * draw + n, 100 * draw + day) for n, day in enumerate(days)]
        sessions = list(map(str, days)) if by_sessions else None
        detector = Detector.fit(waves, RATE, sessions=sessions, weights=None)
        scores = detector.process(others)[0]
        steady = {one: of for one, of in scores.items() if not one.startswith("rhythm/")}
        both = [fused(of).reshape(len(kinds), clips) for of in (scores, steady)]
        labels = np.repeat([0, 1], clips)
        for number, kind in enumerate(kinds[1:], 1):
            pairs = [np.concatenate([of[0], of[number]]) for of in both]
            found[kind].append([float(auc(*tie_groups(labels, pair))) for pair in pairs])
    result = {"machine": machine, "sessions": FITTED_SESSIONS if by_sessions else 1}
    for kind, values in found.items():
        with_rhythm, without = np.mean(values, axis=0)
        result[kind] = {
            "auc": round(float(with_rhythm), 4),
            "without_rhythm": round(float(without), 4),
        }
    print(json.dumps(result), flush=True)
    return result


if __name__ == "__main__":
    run(main, define_flags)
