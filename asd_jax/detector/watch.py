"""Monitors a stream, file or folder for days; yields a line per window, alarms and events."""

import collections
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from asd_jax.data.audio import read_clip, sampling_rate
from asd_jax.data.folders import list_recursively
from asd_jax.data.windows import cut_windows
from asd_jax.detector.defects import SAID, ArrivalRate, another_rate, defects
from asd_jax.detector.record import Record
from asd_jax.detector.settings import SHORT
from asd_jax.detector.stream import Decoder, Event, Windows
from asd_jax.monitoring.alarms import Alarm, Moment
from asd_jax.runtime.errors import InputError

Scorer = Callable[[np.ndarray], float]  # window at the rate of `Watching` -> anomaly score


@dataclasses.dataclass(frozen=True)
class Watching:
    """Settings of the monitoring.

    Attributes:
        rate: sampling rate of the windows, in Hz.
        window_seconds: length of a window.
        hop_seconds: time between the starts of two windows, at most the length of a window.
        threshold: score above which a window is anomalous.
        release: score at or below which an alarm may end.
        confirm: number of consecutive windows above the threshold that start an alarm.
        hold_seconds: time at or below `release` that ends an alarm.
        status_seconds: seconds of sound between two status lines.
        of: among how many windows `confirm` are counted; 0: as many, so they are consecutive.
        on_delay_seconds: time above the threshold before an alarm starts.
    """

    rate: int
    window_seconds: float
    hop_seconds: float
    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    status_seconds: float = 3600.0
    of: int = 0
    on_delay_seconds: float = 0.0

    def __post_init__(self):
        if not 0 < self.hop_seconds <= self.window_seconds:
            raise InputError(
                f"a hop of {self.hop_seconds:g} s: must be above 0 and at most the window, "
                f"{self.window_seconds:g} s"
            )
        # Written so that NaN fails every comparison.
        held = self.confirm >= 1 and self.hold_seconds >= 0 and self.status_seconds > 0
        if not (self.of == 0 or self.of >= self.confirm) or not self.on_delay_seconds >= 0:
            raise InputError(
                f"--of={self.of} must be at least --confirm={self.confirm}, or 0; "
                "--on_delay_seconds at least 0"
            )
        if not (held and self.release <= self.threshold):
            raise InputError(
                "--confirm must be at least 1, --hold_seconds and --hysteresis at least 0, "
                "--status_seconds above 0"
            )

    @property
    def latency_seconds(self) -> float:
        """Returns the longest time from the start of a lasting fault to its alarm, in seconds.

        Computing time is not included. The first window that lies wholly inside the fault begins
        within a hop of its start, and `confirm` such windows are needed.
        """
        # The window that is the last to be counted may be the one that ends the delay.
        delay = max(self.on_delay_seconds - self.confirm * self.hop_seconds, 0)
        return self.window_seconds + self.confirm * self.hop_seconds + delay

    @property
    def samples(self) -> tuple[int, int]:
        """Returns the length of a window and of a hop, in samples."""
        return round(self.window_seconds * self.rate), max(1, round(self.hop_seconds * self.rate))

    def started(self, false_alarm_rate: float) -> dict:
        """Returns the first line: the settings, for a detector with this false-alarm rate."""
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
    """Scores windows one by one.

    It keeps the state of the alarm and a few counters; its memory does not grow.
    """

    def __init__(
        self,
        watching: Watching,
        score: Scorer,
        p_value: Callable[[float], float] = lambda score: np.nan,
        record: Record | None = None,
        explain: Callable[[np.ndarray], str] | None = None,
    ):
        """Makes the state of a watch.

        Args:
            watching: the settings.
            score: scores a window.
            p_value: p-value of a score.
            record: where readings and alarms are kept, if anywhere.
            explain: says of the window that starts an alarm in what it differs.
        """
        self.watching = watching
        self.score = score
        self.p_value = p_value
        self.record = record
        self.explain = explain
        self.alarm = Alarm(
            threshold=watching.threshold,
            release=watching.release,
            confirm=watching.confirm,
            hold_seconds=watching.hold_seconds,
            of=watching.of,
            on_delay_seconds=watching.on_delay_seconds,
        )
        if record is not None:
            record.resume(self.alarm)
        self.windows = 0
        self._flags = frozenset()
        self._latency_ms = collections.deque(maxlen=1000)
        self._began = time.perf_counter()
        self._cpu = time.process_time()
        self._seconds = 0.0
        self._told = 0.0

    def window(
        self,
        start: float,
        wave: np.ndarray,
        arrived: float | None = None,
        *,
        file: str = "",
        before: float = 0.0,
        time_of_file: float | None = None,
    ) -> Iterator[dict]:
        """Yields the line of one window, then the events that it causes.

        Args:
            start: start of the window in the stream or in the file, in seconds.
            wave: the samples of the window.
            arrived: time at which its last sample arrived, by time.perf_counter.
            file: file of the window, if a folder is monitored.
            before: seconds of sound processed before the file.
            time_of_file: Unix time at which the file begins.
        """
        score = float(self.score(wave))
        flags = defects(wave, self.watching.rate)
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
        # A scorer that adapts to the session leaves its message in `news`.
        if news := getattr(self.score, "news", None):
            self.score.news = None
            yield {**news, "at": round(end, 3)}
        self.windows += 1
        self._seconds += self.watching.hop_seconds
        # A defect is reported when it starts and when it ends, not for every window.
        for name in sorted(flags ^ self._flags):
            yield {
                "event": name,
                **of,
                "at": round(start, 3),
                "message": SAID[name] if name in flags else "over",
            }
        self._flags = flags
        if changed:
            line = {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in changed.items()
            }
            if self.explain is not None and changed["event"] == "alarm_start":
                line["message"] = self.explain(wave)
            yield line
        if self.record is not None:
            length = self.watching.window_seconds
            if time_of_file is None:
                at = self.record.time(start, length)
            else:
                at = time_of_file + start
            yield from self.record.window(at, wave, self.alarm, score, changed)
        if self._seconds - self._told >= self.watching.status_seconds:
            self._told = self._seconds
            yield {"event": "status", **self.status()}

    def event(self, event: Event, at: float, **more) -> dict:
        """Returns the line of an event."""
        return {"event": event.event, "at": round(at, 3), **more, "message": event.message}

    def finish(self, unheard: float = 0.0) -> Iterator[dict]:
        """Yields the end of an alarm that is still active, and the end of the monitoring."""
        if changed := self.alarm.finish():
            yield {
                key: round(value, 3) if isinstance(value, float) else value
                for key, value in changed.items()
            }
        yield {"event": "end", **self.status(), "unheard_seconds": round(unheard, 3)}

    def status(self) -> dict:
        """Returns windows, alarms and cost: CPU share of one core, latency and memory."""
        wall = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu
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
    """Yields lines for a stream of (bytes, arrival time).

    Empty bytes mean that none arrived for a while.

    Raises:
        InputError: the stream does not begin with sound.
    """
    windows = Windows(*watch.watching.samples, watch.watching.rate)
    clock = ArrivalRate()
    waiting = None

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
            # The gap would distort the arrival rate, so counting starts again.
            waiting = None
            clock = ArrivalRate()
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
    """Yields lines for the recordings in a folder and its subfolders; never ends unless `once`.

    A file is processed when it no longer grows, unless the watch keeps a record that knows it: one
    that is started again must not raise old alarms again. All times are relative to the start of a
    file: for windows, the file named in the line, and for alarms the files in `start_file`,
    `at_file` and `end_file`.

    Args:
        watch: scores the windows.
        folder: the folder.
        once: whether to process the files that are there and stop.
        poll_seconds: time between two looks at the folder.
        channel: number of the channel to use, or "mean".

    Raises:
        InputError: the folder has disappeared.
    """
    samples, hop = watch.watching.samples
    rate = watch.watching.rate
    heard = {}
    growing = {}
    before = 0.0
    known: frozenset[str] = frozenset()
    recorder = watch.record.recorder if watch.record else None
    read = recorder.store.read_files(recorder.machine) if recorder else {}
    there, _ = _files(folder)
    if again := sum(read.get(name) == changed // 1000 for name, (changed, _) in there.items()):
        told = f"{again} recordings are in the record already, and are not scored again"
        yield watch.event(Event("read_before", told), 0.0)
    while True:
        there, left_out = _files(folder)
        for line in sorted(left_out - known):
            yield watch.event(Event("left_out", line), 0.0)
        known = left_out
        # Forgetting removed files keeps memory and record bounded. An empty folder may be a share
        # that is not mounted.
        if there:
            if recorder:
                recorder.forget_read((heard.keys() | read.keys()) - there.keys())
            read = {name: changed for name, changed in read.items() if name in there}
            heard = {name: state for name, state in heard.items() if name in there}
        new = [
            name
            for name in sorted(there, key=lambda n: (there[n], n))
            if heard.get(name) != there[name]
        ]
        for name in new:
            if not once and growing.get(name) != there[name]:
                continue  # the file is new or still growing
            heard[name] = there[name]
            if read.get(name) == there[name][0] // 1000:
                continue
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
                yield from watch.window(
                    start / rate,
                    window,
                    arrived,
                    file=name,
                    before=before,
                    # A file is last changed when its recording ends.
                    time_of_file=there[name][0] / 1e9 - len(wave) / rate,
                )
            before += len(wave) / rate
            if recorder:
                recorder.read(name, there[name][0] // 1000)
        growing = {name: there[name] for name in new}
        if once:
            break
        time.sleep(poll_seconds)
    yield from watch.finish()


def memory_mb() -> float:
    """Returns the memory that this process uses, in MB.

    It is the peak if the system does not report the present value.
    """
    try:
        return (
            int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        )
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _files(folder: Path) -> tuple[dict[str, tuple[int, int]], frozenset[str]]:
    """Returns {name: (time of change, size)} of the recordings in a folder, and what is ignored."""
    found = list_recursively(folder)
    there = {}
    for path in found.files:
        try:
            status = path.stat()
        except OSError:  # the file was removed after the listing
            continue
        there[path.relative_to(folder).as_posix()] = (status.st_mtime_ns, status.st_size)
    return there, frozenset(found.left_out)
