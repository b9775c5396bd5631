"""Scores windows one by one, and yields a line for each, for alarms, defects and the state."""

import collections
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from asd_jax.detector.defects import MESSAGES, defects
from asd_jax.detector.record import Record
from asd_jax.detector.stream import Event
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.monitoring.alarms import Alarm, Moment

Scorer = Callable[[np.ndarray], float]  # window at the rate of the settings -> anomaly score


class Watch:
    """Scores windows one by one.

    It keeps the state of the alarm and a few counters; its memory does not grow.
    """

    def __init__(
        self,
        settings: WatchSettings,
        score: Scorer,
        p_value: Callable[[float], float] = lambda score: np.nan,
        record: Record | None = None,
        explain: Callable[[np.ndarray], str] | None = None,
    ):
        """Makes the state of a watch.

        Args:
            settings: the settings.
            score: scores a window.
            p_value: p-value of a score.
            record: where readings and alarms are kept, if anywhere.
            explain: returns in what the window that starts an alarm differs from normal sounds.
        """
        self.settings = settings
        self.score = score
        self.p_value = p_value
        self.record = record
        self.explain = explain
        self.alarm = Alarm(
            threshold=settings.threshold,
            release=settings.release,
            confirm=settings.confirm,
            hold_seconds=settings.hold_seconds,
            of=settings.of,
            on_delay_seconds=settings.on_delay_seconds,
        )
        if record is not None:
            record.resume(self.alarm)
        self.windows = 0
        self._flags = frozenset()
        # Of the latest windows, so that memory does not grow.
        self._latency_ms = collections.deque(maxlen=1000)
        self._began = time.perf_counter()
        self._cpu_at_start = time.process_time()
        self._seconds = 0.0
        self._seconds_at_status = 0.0

    def window(
        self,
        start: float,
        wave: np.ndarray,
        arrived: float | None = None,
        *,
        file: str = "",
        seconds_before: float = 0.0,
        time_of_file: float | None = None,
    ) -> Iterator[dict]:
        """Yields the line of one window, then the events that it causes.

        Args:
            start: start of the window in the stream or in the file, in seconds.
            wave: the samples of the window.
            arrived: time at which its last sample arrived, by time.perf_counter.
            file: file of the window, if a folder is monitored.
            seconds_before: seconds of sound processed before the file.
            time_of_file: Unix time at which the file begins.
        """
        score = float(self.score(wave))
        flags = defects(wave, self.settings.rate)
        end = start + self.settings.window_seconds
        # The alarm comes first, since the line of the window says whether it is on.
        change = self.alarm.feed(
            Moment(start, file, seconds_before), Moment(end, file, seconds_before), score
        )
        of_file = {"file": file} if file else {}
        yield self._window_line(start, end, score, flags=flags, arrived=arrived, of_file=of_file)
        # A scorer that adapts to the session leaves its message in `news`.
        if news := getattr(self.score, "news", None):
            self.score.news = None
            yield {**news, "at": round(end, 3)}
        self.windows += 1
        # Windows may overlap, so each adds only a hop of new sound.
        self._seconds += self.settings.hop_seconds
        yield from self._changed_defects(flags, start, of_file)
        if change:
            line = _rounded(change)
            if self.explain is not None and change["event"] == "alarm_start":
                line["message"] = self.explain(wave)
            yield line
        if self.record is not None:
            began = (
                self.record.time(start, self.settings.window_seconds)
                if time_of_file is None
                else time_of_file + start
            )
            yield from self.record.window(began, wave, self.alarm, score, change)
        if self._seconds - self._seconds_at_status >= self.settings.status_seconds:
            self._seconds_at_status = self._seconds
            yield {"event": "status", **self.status()}

    def _window_line(
        self,
        start: float,
        end: float,
        score: float,
        *,
        flags: frozenset[str],
        arrived: float | None,
        of_file: dict[str, str],
    ) -> dict:
        """Returns the line of a window, and counts its latency."""
        latency = np.nan if arrived is None else 1000 * (time.perf_counter() - arrived)
        self._latency_ms.append(latency)
        return {
            "window": self.windows,
            **of_file,
            "start": round(start, 3),
            "end": round(end, 3),
            "score": round(score, 4),
            "threshold": round(self.settings.threshold, 4),
            "p_value": round(self.p_value(score), 6),
            "is_anomaly": score > self.settings.threshold,
            "alarm": self.alarm.active,
            "flags": sorted(flags),
            "latency_ms": None if arrived is None else round(latency, 1),
        }

    def _changed_defects(self, flags: frozenset[str], start: float, of_file) -> Iterator[dict]:
        """Yields an event for each defect that starts or ends, not one for every window."""
        for name in sorted(flags ^ self._flags):
            yield {
                "event": name,
                **of_file,
                "at": round(start, 3),
                "message": MESSAGES[name] if name in flags else "over",
            }
        self._flags = flags

    def event(self, event: Event, at: float, **more) -> dict:
        """Returns the line of an event."""
        return {"event": event.event, "at": round(at, 3), **more, "message": event.message}

    def finish(self, unscored: float = 0.0) -> Iterator[dict]:
        """Yields the end of an alarm that is still active, and the end of the watch.

        `unscored` is the number of seconds at the end of the sound that are in no window.
        """
        if change := self.alarm.finish():
            yield _rounded(change)
        yield {"event": "end", **self.status(), "unheard_seconds": round(unscored, 3)}

    def status(self) -> dict:
        """Returns windows, alarms and cost: CPU share of one core, latency and memory."""
        wall = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu_at_start
        latency = np.array(self._latency_ms)
        # Windows at the end of a stream and of files have no arrival, and so no latency.
        latency = latency[np.isfinite(latency)]
        state = {
            "windows": self.windows,
            "alarms": self.alarm.count,
            "cpu_share": round(cpu / max(wall, 1e-9), 4),
            "times_real_time": round(self._seconds / max(wall, 1e-9), 2),
            "memory_mb": round(memory_mb(), 1),
        }
        if len(latency):
            state["latency_ms"] = {
                "median": round(float(np.median(latency)), 1),
                "max": round(latency.max(), 1),
            }
        return state


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


def _rounded(line: dict) -> dict:
    """Returns a line with its floats rounded to three digits."""
    return {
        name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()
    }
