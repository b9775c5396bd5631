"""What is known of each normal recording, as a table with a row for each."""

import dataclasses
from collections.abc import Sequence

from asd_jax.detector.options import RecordingOptions
from asd_jax.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class RecordingTable:
    """What is known of each normal recording.

    Attributes:
        names: names for messages.
        sessions: the day, or the microphone setup; "" if the user gave none.
        domains: "source" or "target"; "pooled" or "unknown" for all.
        trained: whether the encoder was trained on the recording.
    """

    names: tuple[str, ...]
    sessions: tuple[str, ...]
    domains: tuple[str, ...]
    trained: tuple[bool, ...]

    @classmethod
    def of(cls, names: Sequence[str], known: RecordingOptions) -> "RecordingTable":
        """Returns the table of recordings with these names, and what else is known of them.

        Raises:
            InputError: the number of sessions, domains or trained differs from that of the names.
        """
        count = len(names)
        columns = {}
        for column, unknown in (("sessions", ""), ("domains", "unknown"), ("trained", False)):
            given = known.get(column)
            if given is None:
                given = (unknown,) * count
            if len(given) != count:
                raise InputError(f"{column} of {len(given)} recordings, but {count} are given")
            # NumPy's numbers and texts are converted, as the file of a detector holds Python's.
            columns[column] = tuple(type(unknown)(value) for value in given)
        return cls(names=tuple(names), **columns)

    def __add__(self, more: "RecordingTable") -> "RecordingTable":
        columns = [field.name for field in dataclasses.fields(self)]
        return RecordingTable(**{c: getattr(self, c) + getattr(more, c) for c in columns})

    def without(self, recordings: Sequence[int]) -> "RecordingTable":
        """Returns the table without some recordings."""
        # The order stays, as rows are the numbers of the recordings.
        remaining = [n for n in range(len(self.names)) if n not in set(recordings)]
        columns = [field.name for field in dataclasses.fields(self)]
        return RecordingTable(**{c: tuple(getattr(self, c)[n] for n in remaining) for c in columns})

    @property
    def sessions_given(self) -> bool:
        """Returns whether the user gave the session of every recording."""
        return bool(self.sessions) and all(self.sessions)
