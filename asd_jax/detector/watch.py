"""Listens for days: a stream, a file or a folder being filled -> a line for each window, alarms,
events.
"""

import collections
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from asd_jax.data.audio import read_clip, sampling_rate
from asd_jax.data.folders import everything_below
from asd_jax.data.windows import cut_windows
from asd_jax.detector.alarms import Alarm, Moment
from asd_jax.detector.defects import SAID, ArrivalRate, another_rate, defects
from asd_jax.detector.hearing import SHORT
from asd_jax.detector.stream import Decoder, Event, Windows
from asd_jax.runtime.errors import InputError

Scorer = Callable[[np.ndarray], float]  # window at the rate that is heard -> anomaly score


@dataclasses.dataclass(frozen=True)
class Watching:
    """How to watch.

    Attributes:
        rate: that is heard, in Hz.
        window_seconds: of sound scored at once.
        hop_seconds: between windows, at most a window.
        threshold: of the score.
        release: score below which an alarm may end.
        confirm: windows in a row above the threshold that start an alarm.
        hold_seconds: below `release` that end it.
        status_seconds: of sound between two status lines.
    """

    rate: int
    window_seconds: float
    hop_seconds: float
    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    status_seconds: float = 3600.0

    def __post_init__(self):
        if not 0 < self.hop_seconds <= self.window_seconds:
            raise InputError(
                f"a hop of {self.hop_seconds:g} s: must be above 0 and at most the window, "
                f"{self.window_seconds:g} s"
            )
        # all false for NaN
        held = self.confirm >= 1 and self.hold_seconds >= 0 and self.status_seconds > 0
        if not (held and self.release <= self.threshold):
            raise InputError(
                "--confirm must be at least 1, --hold_seconds and --hysteresis at least 0, "
                "--status_seconds above 0"
            )

    @property
    def latency_seconds(self) -> float:
        """From the beginning of a lasting fault to its alarm, at most, without the time to compute.

        The first window wholly inside the fault begins within a hop; `confirm` of them must be
        heard.
        """
        return self.window_seconds + self.confirm * self.hop_seconds

    @property
    def samples(self) -> tuple[int, int]:
        """Window and hop, in samples."""
        return round(self.window_seconds * self.rate), max(1, round(self.hop_seconds * self.rate))

    def started(self, false_alarm_rate: float) -> dict:
        """The first line: what is being done, for a detector of that share of false alarms."""
        return {
            "event": "start",
            "rate": self.rate,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "threshold": round(self.threshold, 4),
            "release": round(self.release, 4),
            "alarm_latency_seconds": round(self.latency_seconds, 3),
            "false_alarm_rate": false_alarm_rate,
            "windows_above_threshold_a_day_when_well": round(
                false_alarm_rate * 86400 / self.hop_seconds, 1
            ),
        }


class Watch:
    """Scores windows one by one; keeps the alarm, a few counters, and nothing that grows."""

    def __init__(
        self,
        watching: Watching,
        score: Scorer,
        p_value: Callable[[float], float] = lambda score: np.nan,
    ):
        self.watching, self.score, self.p_value = watching, score, p_value
        self.alarm = Alarm(
            watching.threshold, watching.release, watching.confirm, watching.hold_seconds
        )
        self.windows, self._flags, self._latency_ms = 0, frozenset(), collections.deque(maxlen=1000)
        self._began, self._cpu, self._seconds, self._told = (
            time.perf_counter(),
            time.process_time(),
            0.0,
            0.0,
        )

    def window(
        self,
        start: float,
        wave: np.ndarray,
        arrived: float | None = None,
        *,
        file: str = "",
        before: float = 0.0,
    ) -> Iterator[dict]:
        """A window and where it starts, in seconds -> its line, then what changed.

        Args:
            start: of the window, in the stream or in the file.
            wave: the window.
            arrived: when its last sample came, by time.perf_counter.
            file: of the window, where a folder is watched.
            before: seconds heard before the file.
        """
        score, flags = float(self.score(wave)), defects(wave, self.watching.rate)
        end = start + self.watching.window_seconds
        changed = self.alarm.feed(Moment(start, file, before), Moment(end, file, before), score)
        of = {"file": file} if file else {}
        self._latency_ms.append(
            1000 * (time.perf_counter() - arrived) if arrived is not None else np.nan
        )
        yield {
            "window": self.windows,
            **of,
            "start": round(start, 3),
            "end": round(end, 3),
            "score": round(score, 4),
            "threshold": round(self.watching.threshold, 4),
            "p_value": round(self.p_value(score), 6),
            "is_anomaly": score > self.watching.threshold,
            "alarm": self.alarm.active,
            "flags": sorted(flags),
            "latency_ms": None if arrived is None else round(self._latency_ms[-1], 1),
        }
        if news := getattr(self.score, "news", None):
            self.score.news = None
            yield {**news, "at": round(end, 3)}
        self.windows += 1
        self._seconds += self.watching.hop_seconds
        for name in sorted(flags ^ self._flags):
            yield {
                "event": name,
                **of,
                "at": round(start, 3),
                "message": SAID[name] if name in flags else "over",
            }
        self._flags = flags
        if changed:
            yield {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in changed.items()
            }
        if self._seconds - self._told >= self.watching.status_seconds:
            self._told = self._seconds
            yield {"event": "status", **self.status()}

    def event(self, event: Event, at: float, **more) -> dict:
        """An event's line."""
        return {"event": event.event, "at": round(at, 3), **more, "message": event.message}

    def finish(self, unheard: float = 0.0) -> Iterator[dict]:
        """The end of an alarm that is still on, and of the watch."""
        if changed := self.alarm.finish():
            yield {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in changed.items()
            }
        yield {"event": "end", **self.status(), "unheard_seconds": round(unheard, 3)}

    def status(self) -> dict:
        """Windows, alarms, cost: CPU share of one core, latency, memory."""
        wall, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        latency = np.array(self._latency_ms)
        latency = latency[np.isfinite(latency)]
        told = {
            "windows": self.windows,
            "alarms": self.alarm.count,
            "cpu_share": round(cpu / max(wall, 1e-9), 4),
        }
        told |= {
            "times_real_time": round(self._seconds / max(wall, 1e-9), 2),
            "memory_mb": round(memory_mb(), 1),
        }
        if len(latency):
            told |= {
                "latency_ms": {
                    "median": round(float(np.median(latency)), 1),
                    "max": round(latency.max(), 1),
                }
            }
        return told


def watch_bytes(
    watch: Watch, chunks: Iterable[tuple[bytes, float | None]], decoder: Decoder
) -> Iterator[dict]:
    """(bytes, when they came) -> lines; no bytes means that none came for a while.

    Raises:
        InputError: what comes first is no sound.
    """
    windows, clock, waiting = (
        Windows(*watch.watching.samples, watch.watching.rate),
        ArrivalRate(),
        None,
    )

    def lines(found, arrived):
        for item in found:
            if isinstance(item, Event):
                yield watch.event(item, windows.heard / windows.rate)
                continue
            for start, wave in windows.feed(item, decoder.form.rate):
                yield from watch.window(start / windows.rate, wave, arrived)
            if arrived is not None and (event := clock.feed(len(item), decoder.form.rate, arrived)):
                yield watch.event(event, windows.heard / windows.rate)

    known = windows.rate
    for chunk, arrived in chunks:
        if not chunk and waiting is None and arrived is not None:
            waiting = arrived
            yield watch.event(Event("gap", "no sound is coming"), windows.heard / windows.rate)
        elif chunk and waiting is not None and arrived is not None:
            told = Event(
                "resumed", f"sound comes again, after a gap of {arrived - waiting:.1f} s and more"
            )
            waiting, clock = None, ArrivalRate()
            yield watch.event(told, windows.heard / windows.rate)
        if chunk:
            yield from lines(decoder.feed(chunk), arrived)
            if decoder.form.rate != known and (known := decoder.form.rate) != windows.rate:
                yield watch.event(another_rate(known, windows.rate), windows.heard / windows.rate)
    yield from lines(decoder.finish(), None)
    for start, wave in windows.finish():
        yield from watch.window(start / windows.rate, wave)
    if not watch.windows:
        told = f"{windows.heard / windows.rate:.2f} s of sound are less than one window"
        yield watch.event(Event("too_short", told), 0.0)
    yield from watch.finish(windows.left / windows.rate)


def watch_folder(
    watch: Watch,
    folder: Path,
    *,
    once: bool,
    poll_seconds: float = 1.0,
    channel: int | str = "mean",
) -> Iterator[dict]:
    """A folder being filled, with those below it -> lines; a file is heard when it no longer grows.
    Endless unless `once`.

    All times are counted in a file: in the one that the line names, of alarms in `start_file`,
    `at_file`, `end_file`.

    Raises:
        InputError: the folder is gone.
    """
    samples, hop = watch.watching.samples
    rate, heard, growing, before = watch.watching.rate, {}, {}, 0.0
    known: frozenset[str] = frozenset()
    while True:
        there, left_out = _files(folder)
        for line in sorted(left_out - known):
            yield watch.event(Event("left_out", line), 0.0)
        known = left_out
        # what was removed is forgotten
        heard = {name: state for name, state in heard.items() if name in there}
        new = [
            name
            for name in sorted(there, key=lambda n: (there[n], n))
            if heard.get(name) != there[name]
        ]
        for name in new:
            if not once and growing.get(name) != there[name]:
                continue  # seen for the first time, or still growing
            heard[name] = there[name]
            try:
                wave = read_clip(folder / name, sample_rate=rate, channel=channel)
                own = sampling_rate(folder / name)
            except InputError as error:
                yield watch.event(Event("unreadable", str(error)), 0.0, file=name)
                continue
            if own < rate:
                yield watch.event(another_rate(own, rate), 0.0, file=name)
            if len(wave) < SHORT * samples:
                told = (
                    f"{len(wave) / rate:.2f} s of sound are less than one window: the score is "
                    "not comparable"
                )
                yield watch.event(Event("too_short", told), 0.0, file=name)
            arrived = time.perf_counter()
            for window, start in zip(*cut_windows(wave, samples, hop), strict=True):
                yield from watch.window(start / rate, window, arrived, file=name, before=before)
            before += len(wave) / rate
        growing = {name: there[name] for name in new}
        if once:
            break
        time.sleep(poll_seconds)
    yield from watch.finish()


def memory_mb() -> float:
    """Memory that this process holds, in MB (its peak where the system does not say)."""
    try:
        return (
            int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        )
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _files(folder: Path) -> tuple[dict[str, tuple[int, int]], frozenset[str]]:
    """{name: (time of change, size)} of the recordings in a folder and below it, and what is left
    out there.
    """
    found, there = everything_below(folder), {}
    for path in found.files:
        try:
            status = path.stat()
        except OSError:  # removed meanwhile
            continue
        there[path.relative_to(folder).as_posix()] = (status.st_mtime_ns, status.st_size)
    return there, frozenset(found.left_out)
