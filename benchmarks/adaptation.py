"""Measures how much of a fault that is already there `detect adapt` learns, for several faults.

    python -m benchmarks.adaptation --output=DIR

Detectors are fitted to five sessions of each synthetic machine. In another session the fault is
there from the first minute, so the detector is adapted to faulty sound. The fault is reported if
the adaptation is refused. Otherwise, the share absorbed is how much lower further faulty clips
score than with a detector adapted to the same session without the fault. Faults below the threshold
in that session are left out. Healthy sessions are adapted to as well. The faults are those of the
factory, broadband noise as loud as the machine, and a machine that is 12 dB louder in the same
room. The command writes adaptation.json and adaptation.md.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.factory import FAULTS, MACHINES, factory_clip
from asd_jax.detector.adaptation import adapted
from asd_jax.detector.detector import Detector
from asd_jax.runtime.command import run
from asd_jax.runtime.files import atomic_file, write_json
from asd_jax.runtime.log import print_line
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
RATE = 16000
FITTED = 5
CLIPS = 8
NEW = (100, 101, 102)  # sessions that were not fitted
LOUDER_DB = 12.0
KINDS = (*FAULTS, "noise", "loudness")
MOST_ABSORBED = 0.05


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("machines", list(MACHINES), "Machines of the factory.")
    flags.DEFINE_string("output", None, "Folder for the tables.", required=True)


def main() -> None:
    """Measures every machine, and writes the tables."""
    rows = []
    for machine in FLAGS.machines:
        detector = fitted(machine)
        for kind, session in itertools.product(("", *KINDS), NEW):
            rows.append(measured(detector, machine, kind, session))
        print_line(f"{machine}: {len(rows)} cases so far")
    output = Path(FLAGS.output)
    made = provenance()
    found = summary(rows)
    write_json(output / "adaptation.json", {"summary": found, "rows": rows, **made})
    text = markdown(found, made)
    with atomic_file(output / "adaptation.md") as file:
        file.write(text.encode())
    print_line(text)


def fitted(machine: str) -> Detector:
    """Returns a detector of the healthy machine, fitted to several sessions."""
    waves = [clip(machine, day, n) for day in range(FITTED) for n in range(CLIPS)]
    sessions = [str(day) for day in range(FITTED) for _ in range(CLIPS)]
    return Detector.fit(waves, RATE, weights=None, sessions=sessions)


def measured(detector: Detector, machine: str, kind: str, session: int) -> dict:
    """Returns what the adaptation to a session with a fault does."""
    healthy, faulty = (
        adapted(detector, [clip(machine, session, n, of) for n in range(CLIPS)])
        for of in ("", kind)
    )
    further = [clip(machine, session, CLIPS + n, kind) for n in range(CLIPS)]
    without, adapted_to_it = (
        float(np.median([verdict.score for verdict in one.detector.examine_all(further)]))
        for one in (healthy, faulty)
    )
    return {
        "machine": machine,
        "fault": kind,
        "session": session,
        "threshold": detector.threshold,
        "score": without,
        "score_adapted_to_it": adapted_to_it,
        "reported": not faulty.settled,
        "absorbed": max(0.0, 1 - adapted_to_it / without) if faulty.settled else 0.0,
    }


def clip(machine: str, session: int, number: int, fault: str = "") -> np.ndarray:
    """Returns one recording of a session."""
    seed = 1000 * session + number
    of_factory = fault if fault in FAULTS else ""
    made = factory_clip(
        machine, session=session, seed=seed, clip_seconds=1.0, fault_kind=of_factory, grade=0.5
    )
    if fault == "noise":
        noise = np.random.default_rng(seed).normal(0, made.machine_stem.std(), len(made.wave))
        return (made.wave + noise).astype(np.float32)
    if fault == "loudness":
        return made.wave + made.machine_stem * np.float32(10 ** (LOUDER_DB / 20) - 1)
    return made.wave


def summary(rows: Sequence[Mapping]) -> dict[str, dict]:
    """Returns {fault, or "none": how many sessions are above the threshold and reported, and the
    share of the score that is absorbed}.
    """
    found = {}
    for kind in ("", *KINDS):
        own = [row for row in rows if row["fault"] == kind]
        # A healthy session that is refused is counted, wherever it scores.
        loud = [row for row in own if not kind or row["score"] > row["threshold"]]
        absorbed = [row["absorbed"] for row in loud] or [0.0]
        found[kind or "none"] = {
            "sessions": len(own),
            "above": sum(row["score"] > row["threshold"] for row in own),
            "counted": len(loud),
            "reported": sum(row["reported"] for row in loud),
            "absorbed_mean": float(np.mean(absorbed)),
            "absorbed_most": max(absorbed),
        }
    return found


def markdown(found: Mapping[str, Mapping], made: Mapping[str, str]) -> str:
    """Returns the summary as a table in Markdown, a row per fault."""
    lines = [
        f"{made['device']}, {made['date']}, commit {made['commit']}: `{made['command']}`",
        "",
        "| fault | above the threshold | reported | absorbed, mean | most |",
        "|---|---|---|---|---|",
    ]
    for kind, of in found.items():
        lines.append(
            f"| {kind} | {of['above']} of {of['sessions']} | {of['reported']} of {of['counted']} "
            f"| {100 * of['absorbed_mean']:.1f} % | {100 * of['absorbed_most']:.1f} % |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main, define_flags)
