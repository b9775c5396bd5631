"""Turns the scores of windows into alarms that do not flicker."""

import collections
import dataclasses


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment in a stream, or in a file of a folder.

    Attributes:
        seconds: seconds from the beginning of the stream or of the file.
        file: name of the file; "" for a stream.
        before: seconds of sound processed before the file.
        time: Unix time at which the sound was recorded; None if unknown.
    """

    seconds: float
    file: str = ""
    before: float = 0.0
    time: float | None = None

    @property
    def processed(self) -> float:
        """Returns the seconds of sound processed up to this moment."""
        return self.before + self.seconds

    def fields(self, name: str) -> dict[str, float | str]:
        """Returns event fields: the seconds under this name, and the file they refer to if any."""
        return {name: self.seconds} | ({f"{name}_file": self.file} if self.file else {})


@dataclasses.dataclass
class Alarm:
    """An alarm with confirmation, delays and a deadband, as in ISA-18.2.

    It starts when at least `confirm` of the last `of` windows were above `threshold`, and have been
    for `on_delay_seconds`. It ends when no score has been above `release` for `hold_seconds`. All
    delays are measured in sound, not by the clock, which may jump.

    Attributes:
        threshold: score above which a window counts towards an alarm.
        release: lower score for the end of an alarm; the difference is the deadband.
        confirm: number of windows above the threshold that start an alarm.
        hold_seconds: off-delay: time for which scores must stay at or below `release`.
        of: among how many windows they are counted; 0: as many, so they are consecutive.
        on_delay_seconds: time for which the condition must last before the alarm starts.
        active: whether the alarm is on.
        count: number of alarms so far.
    """

    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    of: int = 0
    on_delay_seconds: float = 0.0
    active: bool = False
    count: int = 0
    _condition_met: bool = False
    _start: Moment = Moment(0.0)
    _end: Moment = Moment(0.0)
    _peak: float = float("-inf")

    def __post_init__(self):
        # Memory holds as many windows as are counted.
        self._recent: collections.deque = collections.deque(maxlen=max(self.of, self.confirm))

    def feed(self, start: Moment, end: Moment, score: float) -> dict | None:
        """Returns the start or the end of an alarm as an event, or None if nothing changed.

        Args:
            start: start of the next window.
            end: end of the window.
            score: its score.
        """
        if self.active:
            # A score between `release` and `threshold` keeps an alarm on, and starts none.
            if score > self.release:
                self._end = end
                self._peak = max(self._peak, score)
                return None
            # Time counts from the last window above `release`, so that a score that hovers there
            # keeps the alarm on.
            quiet = end.processed - self._end.processed
            return self.finish(False) if quiet >= self.hold_seconds else None
        self._recent.append((start, score))
        above = [(start, score) for start, score in self._recent if score > self.threshold]
        if len(above) < self.confirm:
            self._condition_met = False
            return None
        # An alarm dates from the first of the windows that meet the condition.
        if not self._condition_met:
            self._condition_met = True
            self._start = above[0][0]
            self._peak = max(score for _, score in above)
        self._peak = max(self._peak, score)
        # A window below the threshold starts no alarm, even if the windows before it would.
        if score <= self.threshold or end.processed - self._start.processed < self.on_delay_seconds:
            return None
        self.active = True
        self.count = self.count + 1
        self._end = end
        return {
            "event": "alarm_start",
            **self._start.fields("start"),
            **end.fields("at"),
            "peak": self._peak,
        }

    def resume(self, start: Moment, end: Moment, peak: float) -> None:
        """Takes up an alarm that was on when an earlier process ended."""
        self.active = True
        self._start = start
        self._end = end
        self._peak = peak

    @property
    def started(self) -> Moment:
        """Returns the start of the last alarm."""
        return self._start

    @property
    def ended(self) -> Moment:
        """Returns the end of the last window above `release` in the last alarm."""
        return self._end

    @property
    def peak(self) -> float:
        """Returns the highest score of the last alarm."""
        return self._peak

    def finish(self, still_on: bool = True) -> dict | None:
        """Returns the end of an active alarm as an event, or None if there is no active alarm.

        `still_on` marks an alarm that was active at the end of the stream, so that its end is
        unknown.
        """
        if not self.active:
            return None
        self.active = False
        self._condition_met = False
        # Windows of this alarm must not count towards the next one.
        self._recent.clear()
        # An alarm may span several files, so its length is measured in processed sound.
        seconds = self._end.processed - self._start.processed
        return {
            "event": "alarm_end",
            **self._start.fields("start"),
            **self._end.fields("end"),
            "seconds": seconds,
            "peak": self._peak,
            **({"still_on": True} if still_on else {}),
        }
