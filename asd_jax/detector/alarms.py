"""From the scores of windows to alarms that do not flicker."""

import dataclasses


@dataclasses.dataclass
class Alarm:
    """Starts after `confirm` windows in a row above `threshold`; ends when none was above `release` for a while.

    Attributes:
        threshold: of the score.
        release: a lower one (hysteresis).
        confirm: windows in a row.
        hold_seconds: that the scores must stay below `release`.
    """

    threshold: float
    release: float
    confirm: int = 2
    hold_seconds: float = 30.0
    active: bool = False
    count: int = 0
    _run: int = 0
    _start: float = 0.0
    _end: float = 0.0
    _peak: float = float("-inf")

    def feed(self, start: float, end: float, score: float) -> dict | None:
        """A window's place in seconds and its score -> what changed: the alarm's start or end, as an event."""
        if not self.active:
            if score <= self.threshold:
                self._run = 0
                return None
            if not self._run:
                self._start, self._peak = start, score
            self._run, self._peak, self._end = self._run + 1, max(self._peak, score), end
            if self._run < self.confirm:
                return None
            self.active, self.count = True, self.count + 1
            return {"event": "alarm_start", "start": self._start, "at": end, "peak": self._peak}
        if score > self.release:
            self._end, self._peak = end, max(self._peak, score)
            return None
        return self.finish(False) if end - self._end >= self.hold_seconds else None

    def finish(self, still_on: bool = True) -> dict | None:
        """The end of an alarm; `still_on` at the end of the stream, when nobody knows whether it was over."""
        if not self.active:
            return None
        self.active, self._run = False, 0
        seconds = self._end - self._start
        found = {"event": "alarm_end", "start": self._start, "end": self._end, "seconds": seconds, "peak": self._peak}
        return found | ({"still_on": True} if still_on else {})
