"""Measures how early a slow fault is reported, and how often a steady machine is reported.

    python -m benchmarks.trend --output=DIR

A synthetic fan is recorded for 30 days, six windows of 2 s a day, each day another session: the
place of the microphone, the room, the warmth and the neighbours vary. A whistle (the fault "tone")
grows from nothing to its full level on the last day. A detector is fitted to five other days of the
healthy fan; its scores go into a store, and the trend is looked at once a day.

The same machines then run for 60 days without a fault: with a load that changes over the day, with
pauses at weekends, in which the room alone is recorded, with a temperature that drifts, and with a
microphone that is set 3 dB louder on day 31. The command also draws 60-day series of scores of a
steady machine, with a daily cycle, days that differ and windows that scatter, and harder ones. It
counts the reports of all of them, and writes trend.json.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.data.machines import MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.detector import Detector
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY, Store
from asd_jax.monitoring.trend import DAYS, FEWEST_DAYS, reported_trend
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_error
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
RATE = 16000
A_DAY = 6
FITTED = 5
SECONDS = 2.0
START = 1.8e9
STEADY_DAYS = 60
# of the microphone, and the day
LOUDER_DB = 3.0
LOUDER_FROM = 30
# What happens to a steady machine, and to scores that are drawn.
HARDER = ("load", "weekends", "temperature", "louder")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("machines", ["fan", "gearbox"], "Machines of the factory.")
    flags.DEFINE_integer("histories", 200, "Number of steady histories of 60 days.", lower_bound=0)
    flags.DEFINE_string("output", None, "Folder for trend.json.", required=True)


def main() -> None:
    """Measures slow faults and steady machines, and prints a line for each."""
    found = {"slow_faults": [slow_fault(machine) for machine in FLAGS.machines]}
    for row in found["slow_faults"]:
        print(json.dumps(row))
    found["steady_machines"] = [
        steady_machine(machine, kind) for machine in FLAGS.machines for kind in HARDER
    ]
    drawn = [("days", share) for share in (0.0, 0.5, 1.0)] + [(kind, 0.5) for kind in HARDER]
    found["steady"] = [steady(*of, FLAGS.histories) for of in drawn if FLAGS.histories]
    for row in found["steady_machines"] + found["steady"]:
        print(json.dumps(row))
    write_json(Path(FLAGS.output) / "trend.json", found | provenance())


def slow_fault(machine: str) -> dict:
    """Returns the days on which a growing fault is reported, alarms, and crosses the threshold."""
    detector = Detector.fit(
        [_clip(machine, day, n, 0.0) for day in range(100, 100 + FITTED) for n in range(A_DAY)],
        RATE,
        sessions=[str(day) for day in range(FITTED) for _ in range(A_DAY)],
        weights=None,
    )
    waves = [_clip(machine, day, n, day / (DAYS - 1)) for day in range(DAYS) for n in range(A_DAY)]
    scores = np.array([verdict.score for verdict in detector.examine_all(waves)])
    days = scores.reshape(DAYS, A_DAY)
    above = days > detector.threshold
    reported, message = _reported(days, detector.threshold)
    print_error(f"{machine}: {np.round(np.median(days, 1), 1).tolist()}")
    return {
        "machine": machine,
        "threshold": round(float(detector.threshold), 3),
        "reported_on_day": reported,
        "median_above_threshold_on_day": _first(np.median(days, 1) > detector.threshold),
        "first_window_above_threshold_on_day": _first(above.any(1)),
        "message": message,
    }


def steady_machine(machine: str, kind: str) -> dict:
    """Returns how often a healthy machine is reported in 60 days of one of HARDER."""
    loads = MACHINES[machine].loads["source"]

    def wave(day: int, number: int) -> np.ndarray:
        load = loads[0]
        speed = MACHINES[machine].speeds["source"][0]
        if kind == "load":
            load = loads[round((len(loads) - 1) * np.sin(np.pi * number / (A_DAY - 1)))]
        if kind == "temperature" and day < STEADY_DAYS:  # slower by 1 % and back in 60 days
            speed = round(speed * (1 - 0.01 * np.sin(np.pi * day / STEADY_DAYS)))
        seed = 1000 * day + number
        options = {"clip_seconds": SECONDS, "seed": seed, "session": day, "load": load}
        clip = factory_clip(machine, speed=speed, **options)
        if kind == "weekends" and day % 7 >= 5:
            return clip.background
        louder = LOUDER_DB if kind == "louder" and LOUDER_FROM <= day < STEADY_DAYS else 0.0
        return (clip.wave * 10 ** (louder / 20)).astype(np.float32)

    # Fitted to five other days, of the same load.
    fitted = range(105, 105 + FITTED)
    detector = Detector.fit(
        [wave(day, n) for day in fitted for n in range(A_DAY)],
        RATE,
        sessions=[str(day) for day in fitted for _ in range(A_DAY)],
        weights=None,
    )
    waves = [wave(day, n) for day in range(STEADY_DAYS) for n in range(A_DAY)]
    scores = np.array([verdict.score for verdict in detector.examine_all(waves)])
    days = scores.reshape(STEADY_DAYS, A_DAY)
    found = list(_reports(days, detector.threshold))
    print_error(f"{machine}, {kind}: {np.round(np.median(days, 1), 1).tolist()} {found}")
    weeks = (STEADY_DAYS - FEWEST_DAYS) / 7
    return {
        "machine": machine,
        "kind": kind,
        "weeks": round(weeks, 1),
        "reports": len(found),
        "on_days": [day for day, _ in found],
    }


def steady(kind: str, share: float, histories: int) -> dict:
    """Returns how often steady machines are reported.

    Args:
        kind: "days" or one of HARDER.
        share: deviation of the days' means over that of the windows.
        histories: number of histories of 60 days.
    """
    rng = np.random.default_rng(0)
    reports = 0
    for _ in range(histories):
        reports += _count(_drawn(kind, share, rng), threshold=3.0)
    weeks = histories * (STEADY_DAYS - FEWEST_DAYS) / 7
    return {
        "kind": kind,
        "deviation_of_days": share,
        "weeks": round(weeks),
        "reports": reports,
        "reports_a_week": round(reports / weeks, 4),
    }


def _drawn(kind: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns scores "days 24" of a steady machine, in deviations of a window; NaN: no sound."""
    days = np.arange(STEADY_DAYS)
    hours = np.arange(24)
    # Days resemble their neighbours: an autoregressive process.
    coefficient = 0.8 if kind == "temperature" else 0.3
    level = 0.0
    means = []
    for _ in days:
        level = coefficient * level + np.sqrt(1 - coefficient**2) * rng.normal()
        means.append(share * level)
    cycle = (2.0 if kind == "load" else 0.5) * np.sin(2 * np.pi * hours / 24)
    values = np.array(means)[:, None] + cycle + rng.normal(0, 1, (STEADY_DAYS, 24))
    if kind == "load":  # another load on each day of the week
        values += rng.normal(0, 1, 7)[days % 7, None]
    if kind == "weekends":
        values[days % 7 >= 5] = np.nan
    if kind == "louder":
        values[rng.integers(10, 50) :] += 0.5
    return values


def _clip(machine: str, day: int, number: int, growth: float) -> np.ndarray:
    """Returns a window of a day; the fault's amplitude grows evenly from 0 to that of grade 0.5."""
    clip = factory_clip(
        machine,
        fault_kind="tone",
        grade=0.5,
        clip_seconds=SECONDS,
        seed=1000 * day + number,
        session=day,
    )
    return (clip.machine_stem + clip.background + growth * clip.fault).astype(np.float32)


def _reported(days: np.ndarray, threshold: float) -> tuple[int | None, str]:
    """Returns (number of days after which a trend is first reported, its message)."""
    for number, message in _reports(days, threshold):
        return number, message
    return None, ""


def _count(days: np.ndarray, threshold: float) -> int:
    return sum(1 for _ in _reports(days, threshold))


def _reports(days: np.ndarray, threshold: float):
    """Yields (number of days so far, message) of each report, with one look a day."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "a.db") as store:
        for day, scores in enumerate(days):
            times = START + DAY * (day + (np.arange(len(scores)) + 0.5) / len(scores))
            known = ~np.isnan(scores)
            store.add(
                "a",
                *(
                    Reading(float(time), SECONDS, float(score), threshold)
                    for time, score in zip(times[known], scores[known], strict=True)
                ),
            )
            if message := reported_trend(store, "a", START + DAY * (day + 1)):
                yield day + 1, message


def _first(days: np.ndarray) -> int | None:
    """Returns the number of days up to the first true one."""
    return int(days.argmax()) + 1 if days.any() else None


if __name__ == "__main__":
    run(main, define_flags)
