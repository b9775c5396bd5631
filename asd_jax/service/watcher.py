"""Watches one machine: blocks of sound -> windows -> scores -> readings, events and alarms."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable

import numpy as np

from asd_jax.detector.detector import Detector
from asd_jax.detector.stream import Event, Windows
from asd_jax.detector.verdict import Verdict
from asd_jax.monitoring.alarms import Alarm, Moment
from asd_jax.monitoring.store import NotStored, Reading, Store
from asd_jax.runtime.log import print_error
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Heard

# Peak-to-peak value of a block below which a microphone gives no sound: -80 dB, as for windows.
SILENT = 1e-4
WAITING = 8  # windows of a live source that may wait; the oldest is dropped then
KEPT = 10_000  # entries that are held in memory while the disk is full
JUMP_SECONDS = 2.0  # by which the clock must move against the monotonic clock to be reported
HYSTERESIS = 0.25  # an alarm ends at this share of the way from the threshold to the usual score
CONFIRM, HOLD_SECONDS = 2, 30.0  # as for `detect watch`


@dataclasses.dataclass(frozen=True)
class Scored:
    """A window that was scored: its samples, its rate, the time of its end, and its verdict."""

    wave: np.ndarray
    rate: int
    ended: float
    verdict: Verdict


class Watcher:
    """The state of one machine; its memory does not grow.

    `take` is called by the thread that reads the source, `score_next` by the one that scores, and
    `tick` once a second by a third.
    """

    def __init__(
        self,
        machine: Machine,
        detector: Detector,
        store: Store,
        *,
        live: bool = True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.machine, self.detector, self.store, self.live = machine, detector, store, live
        self._clock, self._monotonic = clock, monotonic
        self.rate = detector.recorded_rate
        window = detector.settings.window_seconds
        hop = min(machine.hop_seconds or window, window)
        self.samples, self.hop = round(window * self.rate), max(1, round(hop * self.rate))
        usual = float(np.median(detector.bank.normal))
        threshold = detector.threshold
        release = threshold - HYSTERESIS * (threshold - usual)
        self.alarm = Alarm(threshold, release, CONFIRM, HOLD_SECONDS)
        self.microphone, self.message = "starting", ""
        self.last: Scored | None = None
        self.evidence: Scored | None = None  # of the latest alarm
        self.windows, self.dropped, self.closed = 0, 0, False
        self._cut, self._file = Windows(self.samples, self.hop, self.rate), ""
        self._sounded = monotonic()
        self._ready: collections.deque = collections.deque()
        self._unwritten: collections.deque = collections.deque(maxlen=KEPT)
        self._room = threading.Condition()
        self._writing = threading.Lock()
        self._offset = clock() - monotonic()

    def take(self, item: Heard) -> None:
        """Takes a block of sound or an event from the source."""
        if isinstance(item, Event):
            if item.event in ("lost", "ended"):
                self.microphone, self.message = item.event, item.message
            self.note(item.event, item.message)
            return
        # A recording of a folder begins anew, so no window spans two of them.
        if item.file != self._file:
            self._cut, self._file = Windows(self.samples, self.hop, self.rate), item.file
        if np.ptp(item.wave) >= SILENT:
            self._sounds()
        for start, wave in self._cut.feed(item.wave, item.rate):
            after = (self._cut.heard - start - self.samples) / self.rate
            self._put(wave, item.ended - after)

    def _sounds(self) -> None:
        self._sounded = self._monotonic()
        if self.microphone != "listening":
            if self.microphone == "silent":
                self.note("sound", "the microphone is heard again")
            self.microphone, self.message = "listening", ""

    def _put(self, wave: np.ndarray, ended: float) -> None:
        with self._room:
            if self.live and len(self._ready) >= WAITING:
                self._ready.popleft()
                self.dropped += 1
            # The reader of files waits, so that memory holds a few windows only.
            while not self.live and not self.closed and len(self._ready) >= WAITING:
                self._room.wait(1.0)
            self._ready.append((wave, ended))

    def score_next(self) -> bool:
        """Scores the oldest window that waits, and returns whether there was one."""
        with self._room:
            if not self._ready:
                return False
            wave, ended = self._ready.popleft()
            self._room.notify()
        verdict = self.detector.examine(wave, self.rate)
        self.judged(Scored(wave, self.rate, ended, verdict))
        return True

    def judged(self, scored: Scored) -> None:
        """Keeps the reading of a window, and what the alarm makes of it."""
        verdict, seconds = scored.verdict, self.samples / self.rate
        began = scored.ended - seconds
        self._write(
            "add", Reading(began, seconds, float(verdict.score), float(self.alarm.threshold))
        )
        # The alarm counts windows, not the clock, which may jump.
        at = self.windows * self.hop / self.rate
        changed = self.alarm.feed(Moment(at), Moment(at + seconds), float(verdict.score))
        self.windows, self.last = self.windows + 1, scored
        if changed and changed["event"] == "alarm_start":
            self.evidence = scored
            self.note(
                "alarm_raised",
                f"score {verdict.score:.2f} above {verdict.threshold:.2f}, odd is the view "
                f"{verdict.view}",
                score=round(float(verdict.score), 4),
                threshold=round(float(verdict.threshold), 4),
            )
        elif changed:
            self.note("alarm_cleared", f"after {changed['seconds']:.0f} s", peak=changed["peak"])
        if self.alarm.active and self.evidence and verdict.score > self.evidence.verdict.score:
            self.evidence = scored

    def tick(self) -> None:
        """Notices a silent microphone and a clock that jumped; writes what the disk refused."""
        if self.live and self.microphone in ("starting", "listening"):
            quiet = self._monotonic() - self._sounded
            if quiet >= self.machine.silent_seconds:
                self.microphone = "silent"
                self.message = f"no sound for {quiet:.0f} s: is the microphone connected?"
                self.note("silent", self.message)
        offset = self._clock() - self._monotonic()
        if abs(jump := offset - self._offset) > JUMP_SECONDS:
            self.note("clock_jump", f"the clock of this computer jumped by {jump:+.0f} s")
        self._offset = offset
        self._write()

    def note(self, kind: str, message: str, **fields) -> None:
        """Records an event."""
        self._write("event", self._clock(), kind, message, fields)

    def _write(self, method: str = "", *values) -> None:
        """Writes an entry to the store, after those that the disk refused before, in order."""
        with self._writing:
            if method:
                self._unwritten.append((method, values))
            while self._unwritten:
                method, values = self._unwritten[0]
                try:
                    if method == "add":
                        self.store.add(self.machine.name, *values)
                    else:
                        self.store.event(self.machine.name, *values[:3], **values[3])
                except NotStored as error:
                    if self.message != str(error):
                        print_error(f"{self.machine.name}: {error}")
                    self.message = str(error)
                    return
                self._unwritten.popleft()

    @property
    def unwritten(self) -> int:
        """Returns the number of entries that wait for the disk."""
        return len(self._unwritten)

    def state(self) -> dict:
        """Returns what there is to say about the machine now, for JSON."""
        last = self.last
        return {
            "machine": self.machine.name,
            "microphone": self.microphone,
            "alarm": self.alarm.active,
            "score": None if last is None else round(float(last.verdict.score), 4),
            "threshold": round(float(self.alarm.threshold), 4),
            "view": None if last is None else last.verdict.view,
            "note": "" if last is None else last.verdict.note,
            "time": None if last is None else round(last.ended, 3),
            "windows": self.windows,
            "dropped": self.dropped,
            "unwritten": self.unwritten,
            "message": self.message,
        }
