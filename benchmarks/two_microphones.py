"""Measures what cancelling the far microphone removes of a fault, and what it is worth.

    python -m benchmarks.two_microphones --output=DIR [--leak=-10] [--clips=40]

The factory's machines are recorded by a near and a far microphone, which records the machine
`--leak` dB more quietly. The room is louder than the machine, as loud, or quieter. Each way to use
the two channels is scored by the bare filter bank (time mean, standardised, 1-NN), and by the fused
scores of the near and the far channel. The command writes two_microphones.json.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.far_microphone import stereo_clip
from asd_jax.data.machines import FAULTS, MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.data.two_microphones import cancelled, fault_share
from asd_jax.features.filter_bank import log_filter_bank
from asd_jax.reporting.table import print_table, text_table
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.stacked import stacked

ROOMS_DB = (10, 0, -10)
TESTED = 20  # test clips of each machine, normal and faulty each
CHANNELS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "near": lambda near, far: near,
    "far": lambda near, far: far,
    "mean": lambda near, far: (near + far) / 2,
    "cancelled": cancelled,
    "guarded": lambda near, far: cancelled(near, far, guarded=True),
}
BARE = Scoring(distance="euclidean", standardize=True, normalization="none")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_float("leak", -10.0, "level of the machine at the far microphone, in dB")
    flags.DEFINE_integer("clips", 40, "training clips of each machine", lower_bound=5)
    flags.DEFINE_string("output", None, "folder for two_microphones.json", required=True)


def main() -> None:
    """Prints and writes the AUC of each channel in each room, and the kept share of faults."""
    args = flags.FLAGS
    machines = [measure(machine, args.leak, args.clips) for machine in MACHINES]
    found = {
        f"{room:+d} dB": {
            name: float(np.mean([one[room][name] for one in machines])) for name in of
        }
        for room, of in machines[0].items()
    }
    write_json(Path(args.output) / "two_microphones.json", {"leak_db": args.leak, "rooms": found})
    names = list(next(iter(found.values())))
    rows = [[name, *(f"{100 * of[name]:.1f}" for of in found.values())] for name in names]
    title = f"AUC and kept share of faults, %, by the room's level (leak {args.leak:g} dB)"
    print_table(text_table(["", *found], rows, title=title))


def measure(machine: str, leak_db: float, clips: int) -> dict[int, dict[str, float]]:
    """Returns {room's level: AUC of each channel and of near and far fused, kept shares}."""
    many = clips + TESTED
    sources = [factory_clip(machine, seed=seed) for seed in range(many)]
    sources += [
        factory_clip(machine, seed=many + n, fault_kind=FAULTS[n % len(FAULTS)], grade=1.0)
        for n in range(TESTED)
    ]
    label = np.array([-1] * clips + [0] * TESTED + [1] * TESTED)
    found = {}
    for room_db in ROOMS_DB:
        recorded = [stereo_clip(clip, leak_db=leak_db, room_db=room_db) for clip in sources]
        of = {
            name: _embeddings([channel(*clip.wave) for clip in recorded], label)
            for name, channel in CHANNELS.items()
        }
        of["near and far fused"] = stacked({name: of[name] for name in ("near", "far")})
        found[room_db] = {f"AUC, {name}": _auc(embeddings) for name, embeddings in of.items()}
        for name in ("cancelled", "guarded"):
            shares = [
                fault_share(*clip.wave, *clip.fault, guarded=name == "guarded")
                for clip in recorded[many:]
            ]
            found[room_db][f"kept, {name}"] = float(np.mean(shares))
    return found


def _embeddings(waves: Sequence[np.ndarray], label: np.ndarray) -> Embeddings:
    vectors = [
        np.asarray(log_filter_bank(wave[None].astype(np.float32)))[0].mean(0) for wave in waves
    ]
    many = len(waves)
    return Embeddings(
        vectors=np.array(vectors),
        files=np.array([f"{n:04}.wav" for n in range(many)]),
        section=np.full(many, "00"),
        split=np.where(label < 0, "train", "test"),
        domain=np.full(many, "source"),
        label=np.maximum(label, 0),
        attribute=np.full(many, ""),
    )


def _auc(embeddings: Embeddings) -> float:
    found = score_machine(embeddings, BARE)
    return float(auc(*tie_groups(found.clips.label, found.score)))


if __name__ == "__main__":
    run(main, define_flags)
