"""Tests whether a threshold holds on another day, by false alarms and detected faults in sessions
that were not fitted.

    python -m benchmarks.false_alarms [--root=DIR] --output=DIR

The data are the synthetic factory, whose sessions differ in microphone, room, mains, warmth and
neighbours, or DIR, which has a folder per machine with normal/<session>/ and optionally faults/.
Detectors are fitted to 1, 2, 3, 5 and 10 sessions, drawn again in each repetition, for false-alarm
rates of 1 and 5 %. All other sessions are scored. For comparison, as many clips are drawn from all
sessions alike, and all other clips are scored. Only the filter bank is used. The same command
continues an interrupted one. It writes false_alarms.json and false_alarms.md.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.detector.fitting import FittedBank, fit_bank, threshold_of
from asd_jax.detector.processing import Processed, process
from asd_jax.detector.recording_table import RecordingTable
from asd_jax.detector.settings import Settings, usual_window
from asd_jax.detector.views import scoring_of
from asd_jax.runtime.command import run
from asd_jax.runtime.files import atomic_file, read_json, write_json
from asd_jax.runtime.log import print_line, progress
from asd_jax.scoring.back_ends.fusion import fused
from benchmarks.provenance import provenance, write_provenance
from benchmarks.sessions import RATE, Machine, machines

FLAGS = flags.FLAGS
FITTED = (1, 2, 3, 5, 10)
RATES = (0.01, 0.05)
# What is drawn.
BY_SESSIONS = "sessions"
ALIKE = "clips"
MEASURED = {"false_alarms": "false alarms", "found": "faults found"}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("root", None, "Machines with normal/<session>/; default: the factory.")
    flags.DEFINE_integer(
        "repetitions", 20, "Number of draws of the fitted sessions.", lower_bound=1
    )
    flags.DEFINE_list("machines", [], "Machines of the factory or of the root; default: all.")
    flags.DEFINE_string("output", None, "Folder for the tables.", required=True)


def main() -> None:
    """Measures every combination that has not been measured, and writes the tables."""
    output = Path(FLAGS.output)
    rows = []
    seconds = {}
    for machine in machines(FLAGS.root, FLAGS.machines):
        began = time.monotonic()
        rows += rows_of(machine, FLAGS.repetitions, output / "machines" / machine.name)
        seconds[machine.name] = round(time.monotonic() - began, 1)
    summary = summary_of(rows)
    # The draws of each machine stand in its own files below machines/.
    write_json(output / "false_alarms.json", {"summary": summary, **provenance()})
    write_provenance(output, seconds)
    text = markdown(summary, provenance())
    with atomic_file(output / "false_alarms.md") as file:
        file.write(text.encode())
    print_line(text)


def rows_of(machine: Machine, repetitions: int, folder: Path) -> list[dict]:
    """Returns a row per combination of a machine; those in the folder are not measured again."""
    rows = []
    features = None
    for fitted, drawn in itertools.product(FITTED, (BY_SESSIONS, ALIKE)):
        if fitted >= len(machine.sessions):
            continue
        path = folder / f"{drawn}_{fitted}.json"
        asked = {"machine": machine.name, "sessions": list(machine.sessions), "drawn": drawn}
        asked |= {"fitted": fitted, "repetitions": repetitions, "rates": list(RATES)}
        known = read_json(path) if path.exists() else {}
        if known.get("asked") != asked:
            features = features or Features.of(machine)
            known = {"asked": asked, "rows": measured(features, fitted, drawn, repetitions)}
            write_json(path, known)
        rows += known["rows"]
    return rows


@dataclasses.dataclass(frozen=True)
class Features:
    """The windows of a machine, of which detectors are fitted and scored without new features.

    Attributes:
        name: name of the machine.
        settings: settings of its detectors.
        normal: the normal recordings.
        sessions: the session of each.
        faults: the faulty recordings; None if there are none.
    """

    name: str
    settings: Settings
    normal: Processed
    sessions: np.ndarray
    faults: Processed | None

    @classmethod
    def of(cls, machine: Machine) -> "Features":
        """Returns the features of a machine."""
        print_line(f"{machine.name}: reading, and computing the views")
        sounds = machine.sounds()
        waves = [wave for of in sounds.normal.values() for wave in of]
        settings = Settings(RATE, usual_window([len(wave) / RATE for wave in waves]))
        # Apart, each session gets as many simulated windows as a detector fitted to few sessions.
        of_each = [process(None, settings, of)[0] for of in sounds.normal.values()]
        return cls(
            name=machine.name,
            settings=settings,
            normal=functools.reduce(lambda a, b: a.with_more(b, a.recordings), of_each),
            sessions=np.array([name for name, of in sounds.normal.items() for _ in of]),
            faults=process(None, settings, sounds.faults)[0] if sounds.faults else None,
        )

    def fitted(self, recordings: np.ndarray, *, named: bool) -> FittedBank:
        """Returns the bank fitted to some recordings, whose sessions are named or not."""
        others = np.setdiff1d(np.arange(len(self.sessions)), recordings)
        own = self.normal.without(others.tolist())
        sessions = self.sessions[np.sort(recordings)].tolist() if named else None
        table = RecordingTable.of(own.names(None), {"sessions": sessions})
        return fit_bank(scoring_of(None, own.vectors), self.settings, own, table)


def scores_of(bank: FittedBank, processed: Processed) -> np.ndarray:
    """Returns the score of each recording."""
    of = fused(bank.bank.score(processed.vectors))
    recording = processed.windows.recording
    return np.bincount(recording, of) / np.bincount(recording)


def measured(features: Features, fitted: int, drawn: str, repetitions: int) -> list[dict]:
    """Returns a row per false-alarm rate, with the shares of each repetition.

    Args:
        features: of the machine.
        fitted: number of sessions to fit.
        drawn: whether whole sessions are drawn, or as many clips of all sessions alike.
        repetitions: number of draws.
    """
    shares = {rate: {key: [] for key in MEASURED} for rate in RATES}
    what = f"draws of {features.name}, {fitted} sessions, drawn by {drawn}"
    for seed in progress(range(repetitions), repetitions, what):
        recordings = _drawn(features.sessions, fitted, drawn, seed)
        bank = features.fitted(recordings, named=drawn == BY_SESSIONS)
        sounds = {
            "false_alarms": features.normal.without(recordings.tolist()),
            "found": features.faults,
        }
        scores = {key: scores_of(bank, of) for key, of in sounds.items() if of is not None}
        for rate, key in itertools.product(RATES, scores):
            settings = dataclasses.replace(features.settings, false_alarm_rate=rate)
            threshold = threshold_of(bank.bank, settings, bank.recordings)[0]
            shares[rate][key].append(float(np.mean(scores[key] > threshold)))
    return [
        {"machine": features.name, "drawn": drawn, "fitted": fitted, "asked": rate}
        | {key: values for key, values in of.items() if values}
        for rate, of in shares.items()
    ]


def _drawn(sessions: np.ndarray, fitted: int, drawn: str, seed: int) -> np.ndarray:
    """Returns the numbers of the recordings to fit."""
    rng = np.random.default_rng(seed)
    names = np.unique(sessions)
    if drawn == BY_SESSIONS:
        return np.flatnonzero(np.isin(sessions, rng.permutation(names)[:fitted]))
    return rng.permutation(len(sessions))[: round(fitted * len(sessions) / len(names))]


def summary_of(rows: Sequence[Mapping]) -> list[dict]:
    """Returns the means over machines with 95 % intervals, a row per combination."""
    found = []
    for drawn, fitted, rate in itertools.product((BY_SESSIONS, ALIKE), FITTED, RATES):
        own = [r for r in rows if (r["drawn"], r["fitted"], r["asked"]) == (drawn, fitted, rate)]
        if not own:
            continue
        row = {"drawn": drawn, "fitted": fitted, "asked": rate, "machines": len(own)}
        for key in MEASURED:
            if values := [one[key] for one in own if key in one]:
                row[key] = interval(np.mean(values, axis=0))
        found.append(row)
    return found


def interval(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Returns the mean of the repetitions, and its 95 % interval by resampling them."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    found = {"mean": np.mean(values), "low": low, "high": high}
    return {key: round(float(value), 4) for key, value in found.items()}


def markdown(summary: Sequence[Mapping], made: Mapping[str, str]) -> str:
    """Returns the table of all machines as Markdown."""
    titles = [f"{title}, {100 * rate:g} % asked" for rate in RATES for title in MEASURED.values()]
    lines = [
        f"Percent, mean over machines, with 95 % intervals over draws. {made['device']}, "
        f"{made['date']}, commit {made['commit']}:",
        f"`{made['command']}`",
        "",
        f"| fitted | {' | '.join(titles)} |",
        "|" + "---|" * (len(titles) + 1),
    ]
    for drawn, fitted in itertools.product((BY_SESSIONS, ALIKE), FITTED):
        own = [row for row in summary if (row["drawn"], row["fitted"]) == (drawn, fitted)]
        if own:
            cells = [_cell(row.get(key)) for row in own for key in MEASURED]
            alike = "" if drawn == BY_SESSIONS else ", clips of all sessions alike"
            lines.append(f"| {fitted}{alike} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(of: Mapping[str, float] | None) -> str:
    if of is None:
        return "-"
    mean, low, high = (f"{100 * of[key]:.1f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    run(main, define_flags)
