"""Hours of the day in which an alarm is recorded but not announced."""

import dataclasses
import datetime
import re

from asd_jax.runtime.errors import InputError

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclasses.dataclass(frozen=True)
class QuietHours:
    """A time of each day, in this computer's time zone; it may span midnight.

    Attributes:
        first: minute of the day at which it begins.
        last: minute of the day at which it ends; as `first` if there is no such time.
    """

    first: int = 0
    last: int = 0

    @classmethod
    def parse(cls, text: str) -> "QuietHours":
        """Returns the hours in a text such as "22:00-06:00"; "" means none.

        Raises:
            InputError: the text is of another form.
        """
        if not text:
            return cls()
        if not (match := _HOURS.fullmatch(text)):
            raise InputError(f"quiet hours {text!r}: should be of the form 22:00-06:00")
        hour, minute, to_hour, to_minute = map(int, match.groups())
        return cls(60 * hour + minute, 60 * to_hour + to_minute)

    def at(self, time: float) -> bool:
        """Returns whether a Unix time lies in the quiet hours."""
        local = datetime.datetime.fromtimestamp(time).astimezone()
        minute = 60 * local.hour + local.minute
        # Minutes are counted from the beginning, modulo a day, so that hours may span midnight.
        return (minute - self.first) % 1440 < (self.last - self.first) % 1440
