"""Tests whether a threshold holds on another day, by false alarms and detected faults in sessions
that were not fitted.

    python -m benchmarks.false_alarms [--root=DIR] --output=DIR

The data are the synthetic factory, whose sessions differ in microphone, room, mains, warmth and
neighbours, or DIR, which has a folder per machine with normal/<session>/ and optionally faults/.
Detectors are fitted to 1, 2, 3, 5 and 10 sessions, drawn again in each repetition, for false-alarm
rates of 1 and 5 %. All other sessions are scored. Only the filter bank is used. The command writes
false_alarms.json and a table.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.audio import read_clip
from asd_jax.data.clips import sound_files
from asd_jax.data.factory import FAULTS, MACHINES, factory_clip
from asd_jax.detector.detector import Detector
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_error
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
RATE, SESSIONS, CLIPS = 16000, 14, 8
FITTED, RATES = (1, 2, 3, 5, 10), (0.01, 0.05)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("root", None, "Machines with normal/<session>/; default: the factory.")
    flags.DEFINE_integer("repetitions", 20, "Draws of the sessions fitted.", lower_bound=1)
    flags.DEFINE_list("machines", None, "Of the factory or of the root; default: all.")
    flags.DEFINE_string("output", None, "Folder for false_alarms.json.", required=True)


def main() -> None:
    """Measures every combination, and prints a line for each."""
    rows = []
    for name, normal, faults in _machines():
        for fitted in (count for count in FITTED if count < len(normal)):
            rows += measured(name, normal, faults, fitted, FLAGS.repetitions)
            for row in rows[-len(RATES) :]:
                print_error(json.dumps(row))
    if not rows:
        raise InputError("--root: no machine with two sessions or more under normal/")
    summary = [
        {"machine": "all", "fitted": count, "asked": rate}
        | {key: _interval(_of(rows, count, rate, key)) for key in ("false_alarms", "found")}
        for count, rate in itertools.product(FITTED, RATES)
        if _of(rows, count, rate, "false_alarms")
    ]
    result = {"rows": rows, "summary": summary, **provenance()}
    write_json(Path(FLAGS.output) / "false_alarms.json", result)
    for row in summary:
        print(json.dumps(row))


def measured(
    name: str,
    normal: dict[str, list[np.ndarray]],
    faults: list[np.ndarray],
    fitted: int,
    repetitions: int,
) -> list[dict]:
    """Returns a row per false-alarm rate for one machine, with the measured shares of each
    repetition.

    Args:
        name: The machine.
        normal: The normal waveforms of each session.
        faults: The faulty waveforms.
        fitted: Number of sessions to fit.
        repetitions: Number of draws of these sessions.
    """
    rows = {rate: {"false_alarms": [], "found": []} for rate in RATES}
    for repetition in range(repetitions):
        order = np.random.default_rng(repetition).permutation(sorted(normal))
        chosen, other = order[:fitted], order[fitted:]
        waves = [wave for session in chosen for wave in normal[session]]
        sessions = [session for session in chosen for _ in normal[session]]
        unheard = [wave for session in other for wave in normal[session]]
        for rate in RATES:
            options = {"weights": None, "false_alarm_rate": rate, "sessions": sessions}
            detector = Detector.fit(waves, RATE, **options)
            for key, sounds in (("false_alarms", unheard), ("found", faults)):
                if sounds:
                    calls = [verdict.is_anomaly for verdict in detector.examine_all(sounds)]
                    rows[rate][key].append(float(np.mean(calls)))
    return [
        {"machine": name, "fitted": fitted, "asked": rate}
        | {key: _interval(values) | {"all": values} for key, values in of.items() if values}
        for rate, of in rows.items()
    ]


def _interval(values: Sequence[float]) -> dict[str, float]:
    """Returns the mean, and its 95 % interval by resampling the repetitions."""
    if not len(values):
        return {}
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    found = {"mean": np.mean(values), "low": low, "high": high}
    return {key: round(float(value), 4) for key, value in found.items()}


def _of(rows, fitted, rate, key):
    """Returns the mean over machines for each repetition."""
    found = [
        r[key]["all"] for r in rows if (r["fitted"], r["asked"]) == (fitted, rate) and key in r
    ]
    return np.mean(found, axis=0).tolist() if found else []


def _machines():
    """Yields (name, {session: waveforms}, faulty waveforms) of every machine."""
    if FLAGS.root is None:
        for name in FLAGS.machines or MACHINES:
            yield name, *factory_sessions(name)
        return
    for folder in sorted(path for path in Path(FLAGS.root).iterdir() if path.is_dir()):
        if FLAGS.machines and folder.name not in FLAGS.machines:
            continue
        places = sorted(p for p in (folder / "normal").glob("*") if p.is_dir())
        normal = {place.name: _read(place) for place in places}
        faults = folder / "faults"
        yield folder.name, normal, _read(faults) if faults.is_dir() else []


def _read(folder: Path) -> list[np.ndarray]:
    return [read_clip(path, sample_rate=RATE) for path in sound_files(folder)]


def factory_sessions(name: str) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Returns the normal clips of a factory machine by session, and faulty clips of further
    sessions.
    """
    kind = MACHINES[name]
    ways = list(itertools.product(kind.speeds["source"], kind.loads["source"]))

    def clip(session, number, **fault):
        speed, load = ways[number % len(ways)]
        seed = 10_000 * session + number
        options = {"speed": speed, "load": load, "session": session, "seed": seed}
        return factory_clip(name, clip_seconds=1.0, **options, **fault).wave

    normal = {
        f"day {day:02}": [clip(day, number) for number in range(CLIPS)] for day in range(SESSIONS)
    }
    faults = [
        clip(SESSIONS + day, 100 + number, fault_kind=fault, grade=1.0)
        for day in range(4)
        for number, fault in enumerate(FAULTS)
    ]
    return normal, faults


if __name__ == "__main__":
    run(main, define_flags)
