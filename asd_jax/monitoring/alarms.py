"""Turns the scores of windows into alarms that do not flicker."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment in a stream, or in a file of a folder.

    Attributes:
        seconds: seconds from the beginning of the stream or of the file.
        file: name of the file; "" for a stream.
        before: seconds of sound processed before the file.
    """

    seconds: float
    file: str = ""
    before: float = 0.0

    @property
    def heard(self) -> float:
        """Returns the seconds of sound processed up to this moment."""
        return self.before + self.seconds

    def told(self, name: str) -> dict[str, float | str]:
        """Returns event fields: the seconds under this name, and the file they refer to if any."""
        return {name: self.seconds} | ({f"{name}_file": self.file} if self.file else {})


@dataclasses.dataclass
class Alarm:
    """An alarm with confirmation and hysteresis.

    It starts after `confirm` consecutive windows above `threshold`, and ends when no score has been
    above `release` for `hold_seconds`.

    Attributes:
        threshold: score above which a window counts towards an alarm.
        release: lower score for the end of an alarm (hysteresis).
        confirm: number of consecutive windows above the threshold that start an alarm.
        hold_seconds: time for which scores must stay at or below `release`.
        active: whether the alarm is on.
        count: number of alarms so far.
    """

    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    active: bool = False
    count: int = 0
    _run: int = 0
    _start: Moment = Moment(0.0)
    _end: Moment = Moment(0.0)
    _peak: float = float("-inf")

    def feed(self, start: Moment, end: Moment, score: float) -> dict | None:
        """Returns the start or the end of an alarm as an event, or None if nothing changed.

        Args:
            start: start of the next window.
            end: end of the window.
            score: its score.
        """
        if not self.active:
            if score <= self.threshold:
                self._run = 0
                return None
            # An alarm dates from the first window of the run that confirms it.
            if not self._run:
                self._start, self._peak = start, score
            self._run, self._peak, self._end = self._run + 1, max(self._peak, score), end
            if self._run < self.confirm:
                return None
            self.active, self.count = True, self.count + 1
            return {
                "event": "alarm_start",
                **self._start.told("start"),
                **end.told("at"),
                "peak": self._peak,
            }
        if score > self.release:
            self._end, self._peak = end, max(self._peak, score)
            return None
        return self.finish(False) if end.heard - self._end.heard >= self.hold_seconds else None

    def finish(self, still_on: bool = True) -> dict | None:
        """Returns the end of an active alarm as an event, or None if there is no active alarm.

        `still_on` marks an alarm that was active at the end of the stream, so that its end is
        unknown.
        """
        if not self.active:
            return None
        self.active, self._run = False, 0
        # An alarm may span several files, so its length is measured in processed sound.
        seconds = self._end.heard - self._start.heard
        found = {"event": "alarm_end", **self._start.told("start"), **self._end.told("end")}
        found |= {"seconds": seconds, "peak": self._peak}
        return found | ({"still_on": True} if still_on else {})
