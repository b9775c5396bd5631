"""Records what one machine does in the store; a full disk delays it and stops nothing."""

import collections
import time as clock
from collections.abc import Callable, Collection

import numpy as np

from asd_jax.monitoring import cases, shelving
from asd_jax.monitoring.cases import Case, Occurrence
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.levels import sound_levels
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import Store
from asd_jax.monitoring.trend import reported_trend

MOST_WAITING = 10_000  # entries held in memory while the store cannot be written
_RETRY_SECONDS = 5.0  # between two attempts at a store that refused
_TREND_SECONDS = 86400.0  # between two looks at the trend


class Recorder:
    """Records one machine, in order; entries that the disk refuses wait in memory.

        recorder = Recorder(store, "pump 3", quiet=QuietHours.parse("22:00-06:00"))
        recorder.window(start, wave, rate, score=1.2, threshold=2.0)
        recorder.raised(Occurrence(...))
        for line in recorder.tick(now):
            print(line)

    Attributes:
        failure: why the store cannot be written now, "" if it can.
        lost: number of entries dropped since the last report, because too many waited.
    """

    def __init__(self, store: Store, machine: str, *, quiet: QuietHours | None = None):
        self.store = store
        self.machine = machine
        self.quiet = quiet or QuietHours()
        self.failure = ""
        self.lost = 0
        self._waiting: collections.deque[Callable[[], object]] = collections.deque()
        self._failure_reported = False
        # The store was never tried, and the trend never computed.
        self._tried = -np.inf
        self._trend_at = -np.inf

    def window(
        self, time: float, wave: np.ndarray, rate: int, *, score: float, threshold: float
    ) -> None:
        """Records the score and the sound levels of a window that starts at a Unix time."""
        # The levels are computed now, so that an entry that waits holds no waveform.
        level, bands = sound_levels(wave, rate)
        reading = Reading(
            time=time,
            seconds=len(wave) / rate,
            score=score,
            threshold=threshold,
            level=level,
            bands=bands,
        )
        self._write(lambda: self.store.add(self.machine, reading))

    def event(self, time: float, kind: str, message: str = "", **fields) -> None:
        """Records an event."""
        self._write(lambda: self.store.event(self.machine, time, kind, message, **fields))

    def read(self, file: str, changed_us: int) -> None:
        """Records that a recording was read; arguments as for `Store.set_read`."""
        self._write(lambda: self.store.set_read(self.machine, file, changed_us))

    def forget_read(self, files: Collection[str]) -> None:
        """Removes what is known of recordings, which are there no longer."""
        if files:
            self._write(lambda: self.store.forget_read(self.machine, files))

    def raised(self, occurrence: Occurrence) -> None:
        """Records that the alarm is on."""
        self._write(lambda: cases.raise_case(self.store, self.machine, occurrence))

    def cleared(self, ended: float, peak: float, seconds: float | None = None) -> None:
        """Records that the alarm is off; arguments as for `clear_case`."""
        self._write(lambda: cases.clear_case(self.store, self.machine, ended, peak, seconds))

    def clock_set(self, seconds: float) -> None:
        """Records that the clock was set by so many seconds, so that a shelving ends when meant."""
        self._write(lambda: shelving.move_shelving(self.store, self.machine, seconds))

    def open_case(self) -> Case | None:
        """Returns the open case of the machine; None also if the store cannot be read."""
        try:
            return cases.open_case(self.store, self.machine)
        except NotStored:
            return None

    def tick(self, now: float) -> list[dict]:
        """Returns the events to report now: cases to announce, a trend, a full disk.

        Args:
            now: the present time, or that of the recording.
        """
        self._flush()
        if self.failure:
            # A failure of the store is reported once, not with every window.
            first = not self._failure_reported
            self._failure_reported = True
            return [{"event": "not_recorded", "message": self.failure}] if first else []
        events = []
        if self._failure_reported:
            lost = f"{self.lost} entries were lost" if self.lost else "nothing was lost"
            # The gap in the record would otherwise go unnoticed.
            message = f"the store can be written again; {lost}"
            events.append({"event": "recorded_again", "message": message})
            self._failure_reported = False
            self.lost = 0
        try:
            events += [
                {"event": "alarm", "case": case.id, "message": case.occurrences[-1].message}
                for case in cases.announce_due(
                    self.store, now, machine=self.machine, silent=self.quiet.at(now)
                )
            ]
            # A clock that was set back must not put off the next look.
            if abs(now - self._trend_at) >= _TREND_SECONDS:
                self._trend_at = now
                if message := reported_trend(self.store, self.machine, now):
                    events.append({"event": "trend", "message": message})
        except NotStored as error:
            self.failure = str(error)
        return events

    @property
    def unwritten(self) -> int:
        """Returns the number of entries that wait for the store."""
        return len(self._waiting)

    def _write(self, write: Callable[[], object]) -> None:
        """Queues an entry, and writes all that wait if the store can be written."""
        # Memory is bounded: the oldest entry is lost.
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(write)
        self._flush()

    def _flush(self) -> None:
        """Writes the entries that wait, in order, until the store refuses one."""
        # A store that refuses may take seconds to do so, as it waits for locks.
        if self.failure and clock.monotonic() - self._tried < _RETRY_SECONDS:
            return
        self._tried = clock.monotonic()
        while self._waiting:
            try:
                # An entry is removed only after it was written, so that a refusal loses nothing.
                self._waiting[0]()
            except NotStored as error:
                self.failure = str(error)
                return
            self._waiting.popleft()
        self.failure = ""
