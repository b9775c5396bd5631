"""From the scores of windows to alarms that do not flicker."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment of a stream, or of a file in a folder.

    Attributes:
        seconds: from the beginning of the stream or of the file.
        file: its name; none of a stream.
        before: seconds heard before the file.
    """

    seconds: float
    file: str = ""
    before: float = 0.0

    @property
    def heard(self) -> float:
        """Seconds heard until then."""
        return self.before + self.seconds

    def told(self, name: str) -> dict[str, float | str]:
        """In an event: the seconds by this name and, beside them, the file that they are counted
        in.
        """
        return {name: self.seconds} | ({f"{name}_file": self.file} if self.file else {})


@dataclasses.dataclass
class Alarm:
    """Starts after `confirm` windows in a row above `threshold`; ends when none was above `release`
    for a while.

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
    _start: Moment = Moment(0.0)
    _end: Moment = Moment(0.0)
    _peak: float = float("-inf")

    def feed(self, start: Moment, end: Moment, score: float) -> dict | None:
        """A window's place and its score -> what changed: the alarm's start or end, as an event."""
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
        """The end of an alarm; `still_on` at the end of the stream, when nobody knows whether it
        was over.
        """
        if not self.active:
            return None
        self.active, self._run = False, 0
        seconds = self._end.heard - self._start.heard
        found = {"event": "alarm_end", **self._start.told("start"), **self._end.told("end")}
        found |= {"seconds": seconds, "peak": self._peak}
        return found | ({"still_on": True} if still_on else {})
