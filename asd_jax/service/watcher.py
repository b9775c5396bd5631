"""Watches one machine: blocks of sound -> windows -> scores -> readings, events and alarms."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asd_jax.detector.defects import SILENT
from asd_jax.detector.detector import Detector
from asd_jax.detector.stream import Event
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.watch_settings import release_score
from asd_jax.detector.window_cutter import WindowCutter
from asd_jax.monitoring.alarms import Alarm, Moment
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.recorder import Recorder
from asd_jax.monitoring.store import Store
from asd_jax.service.configuration import Machine
from asd_jax.service.evidence import EvidenceKeeper
from asd_jax.service.sources import Item, Sound
from asd_jax.service.window_queue import WindowQueue

JUMP_SECONDS = 2.0  # by which the clock must move against the monotonic clock to be reported


class Clock(NamedTuple):
    """The two clocks of a computer, in seconds.

    Attributes:
        wall: returns the Unix time, which may be set at any moment.
        steady: returns a time that only moves forward, from an arbitrary beginning.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


_SYSTEM = Clock()


class Scored(NamedTuple):
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
        evidence: EvidenceKeeper | None = None,
        clock: Clock = _SYSTEM,
    ):
        """Makes the state of a machine, whose alarm is on if it was when the service ended.

        Args:
            machine: the machine and its microphone.
            detector: scores the windows.
            store: where readings, events and alarms are recorded.
            live: whether the source goes on when nobody reads it; a file waits.
            evidence: keeps the sound of alarms, if anything does.
            clock: the clocks of this computer.
        """
        self.machine = machine
        self.detector = detector
        self.live = live
        self.clock = clock
        self.recorder = Recorder(store, machine.name, quiet=machine.quiet)
        self._recording = threading.Lock()  # the recorder is used by all three threads
        # What the microphone does.
        self.microphone = "starting"
        self.message = ""
        self._last_sound = clock.steady()
        self._quiet = False
        self._offset = clock.wall() - clock.steady()
        # Windows: cut by the thread that reads, scored by another.
        window = detector.settings.window_seconds
        self.rate = detector.recorded_rate
        self.samples = round(window * self.rate)
        self.hop = max(1, round(min(machine.hop_seconds or window, window) * self.rate))
        self.windows = 0
        self._cutter = WindowCutter(self.samples, self.hop, self.rate)
        # A window and the time of its end, or a recording after its last window.
        self.queue: WindowQueue[tuple[np.ndarray, float] | Sound] = WindowQueue(live=live)
        # The alarm and its evidence.
        self.last: Scored | None = None
        self.worst: Scored | None = None  # of the present alarm
        self._evidence = evidence
        self._folder: Path | None = None  # of the evidence of the present alarm
        self._last_kept: Scored | None = None  # the latest window of which evidence was kept
        self.alarm = _alarm(machine, detector)
        self._resume_alarm()

    def _resume_alarm(self) -> None:
        """Takes up an alarm that an earlier process raised, and its evidence."""
        if (case := self.recorder.open_case()) is None:
            return
        folder = case.occurrences[-1].evidence
        if self._evidence and folder:
            self._evidence.complete(Path(folder), self.detector)
        if case.cleared is None:
            began = case.occurrences[-1].started
            # The alarm has been on for this long, so it began before the first window.
            elapsed = max(self.clock.wall() - began, 0.0)
            self.alarm.resume(Moment(-elapsed), Moment(0.0), case.peak)

    def take(self, item: Item) -> None:
        """Takes a block of sound or an event from the source."""
        if isinstance(item, Event):
            if item.event in ("source_lost", "ended"):
                self.microphone = "lost" if item.event == "source_lost" else "ended"
                self.message = item.message
            elif item.event == "source_back":
                self.microphone = "starting"
                self.message = ""
            self.note(item.event, item.message)
            return
        # Each recording of a folder comes as one block, and no window spans two of them, not even
        # two of one name.
        if item.file:
            self._cutter = WindowCutter(self.samples, self.hop, self.rate)
        if np.ptp(item.wave) >= SILENT:
            self._note_sound()
        for start, wave in self._cutter.feed(item.wave, item.rate):
            # The block ended now, so each window in it ended a little earlier.
            after = (self._cutter.received - start - self.samples) / self.rate
            self.queue.put((wave, item.ended - after))
        if item.file:
            self.queue.put(item)

    def _note_sound(self) -> None:
        """Records that the microphone gives sound, if it was silent before."""
        self._last_sound = self.clock.steady()
        self.microphone = "listening"
        self.message = ""
        if self._quiet:
            self._quiet = False
            self.note("sound_again", "the microphone gives sound again")

    def score_next(self) -> bool:
        """Scores the oldest window that waits, and returns whether there was one."""
        if (waiting := self.queue.get()) is None:
            return False
        if isinstance(waiting, Sound):
            with self._recording:
                self.recorder.read(waiting.file, waiting.changed_us)
            return True
        wave, ended = waiting
        # Without a lock: scoring takes long, and the reader must not wait for it.
        verdict = self.detector.examine(wave, self.rate)
        self.record(Scored(wave, self.rate, ended, verdict))
        return True

    def record(self, scored: Scored) -> None:
        """Records the score of a window and what the alarm makes of it."""
        score = float(scored.verdict.score)
        threshold = float(self.alarm.threshold)
        seconds = self.samples / self.rate
        began = scored.ended - seconds
        with self._recording:
            self.recorder.window(began, scored.wave, scored.rate, score=score, threshold=threshold)
        # The alarm counts windows, not the clock, which may jump.
        at = self.windows * self.hop / self.rate
        change = self.alarm.feed(Moment(at, time=began), Moment(at + seconds), score)
        self.windows += 1
        self.last = scored
        if change and change["event"] == "alarm_start":
            self._raise(scored)
        elif change:
            with self._recording:
                # Recordings have times of their own, which no clock that is set now changes.
                seconds = change["seconds"] if self.live else None
                self.recorder.cleared(scored.ended, change["peak"], seconds)
            # The evidence is that of the worst window, which is known now.
            if self.worst is not None and self.worst is not self._last_kept:
                self._keep(self.worst)
        elif self.alarm.active and (self.worst is None or score > self.worst.verdict.score):
            self.worst = scored

    def tick(self) -> None:
        """Notices a silent microphone and a clock that jumped; announces what is due."""
        quiet = self.clock.steady() - self._last_sound
        if self.live and self.microphone != "ended" and not self._quiet:
            if quiet >= self.machine.silent_seconds:
                self._report_silence(quiet)
        now = self.clock.wall()
        # The clocks move together, so only a wall clock that was set changes their difference.
        offset = now - self.clock.steady()
        if abs(jump := offset - self._offset) > JUMP_SECONDS:
            self.note("clock_jump", f"the clock of this computer jumped by {jump:+.0f} s")
            with self._recording:
                self.recorder.clock_set(jump)
        self._offset = offset
        with self._recording:
            self.recorder.tick(now)

    def note(self, kind: str, message: str, **fields) -> None:
        """Records an event of the machine."""
        with self._recording:
            self.recorder.event(self.clock.wall(), kind, message, **fields)

    def state(self) -> dict:
        """Returns the present state of the machine, for JSON."""
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
            "dropped": self.queue.dropped,
            "unwritten": self.recorder.unwritten,
            "message": self.recorder.failure or self.message,
        }

    def _report_silence(self, seconds: float) -> None:
        """Records that the microphone gives no sound."""
        self._quiet = True
        # The message of a source that was lost says more than its silence.
        if self.microphone != "lost":
            self.microphone = "silent"
            self.message = "is the microphone connected?"
        self.note("silent", f"no sound for {seconds:.0f} s: {self.message}")

    def _raise(self, scored: Scored) -> None:
        """Records that the window began an alarm, with its evidence."""
        started = self.alarm.started.time or scored.ended
        self.worst = scored
        if self._evidence:
            self._folder = self._evidence.folder(self.machine.name, started)
            self._keep(scored)
        occurrence = Occurrence(
            started=started,
            peak=self.alarm.peak,
            threshold=float(self.alarm.threshold),
            message=scored.verdict.alarm_message,
            evidence=str(self._folder or ""),
        )
        with self._recording:
            self.recorder.raised(occurrence)

    def _keep(self, scored: Scored) -> None:
        """Queues the evidence of a window, unless an earlier process began the alarm."""
        self._last_kept = scored
        if self._evidence and self._folder:
            self._evidence.keep(
                self._folder, self.detector, scored.wave, scored.rate, scored.verdict
            )


def _alarm(machine: Machine, detector: Detector) -> Alarm:
    """Returns the alarm of a machine, which is off."""
    threshold = detector.threshold
    return Alarm(
        threshold,
        release=release_score(detector.bank.normal, threshold, machine.hysteresis),
        confirm=machine.confirm,
        of=machine.of,
        on_delay_seconds=machine.on_delay_seconds,
        hold_seconds=machine.hold_seconds,
    )
