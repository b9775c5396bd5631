"""Notes for the user on a fit and on a score: what was unusual, and what to do about it."""

import enum
from collections.abc import Iterable


class Kind(enum.StrEnum):
    """What a note is about."""

    # On a score, which is then not comparable with those of normal sounds.
    SHORT = "short"
    SILENCE = "silence"
    CLIPPING = "clipping"
    DROPOUT = "dropout"
    RATE = "rate"
    # On a fit, and true as long as its recordings are in the bank.
    SHORT_RECORDINGS = "short_recordings"
    CLIPPED_RECORDINGS = "clipped_recordings"
    LOSSY_RECORDINGS = "lossy_recordings"
    LEFT_OUT = "left_out"
    DOMAINS = "domains"
    # On a fit, and decided again when further recordings are learned.
    THRESHOLD = "threshold"
    TOO_FEW = "too_few"
    SESSIONS = "sessions"
    OTHER = "other"


# What further recordings may cure.
_PASSING = frozenset([Kind.THRESHOLD, Kind.TOO_FEW, Kind.SESSIONS])


class Note(str):
    """A note for the user: a text that knows what it is about.

    Attributes:
        kind: what it is about.
    """

    kind: Kind

    def __new__(cls, kind: Kind, message: str) -> "Note":
        note = super().__new__(cls, message)
        note.kind = kind
        return note

    def __getnewargs__(self) -> tuple[Kind, str]:
        # Copies and pickles are made by __new__, which needs both.
        return self.kind, str(self)

    @property
    def lasts(self) -> bool:
        """Returns whether a note on a fit still applies when further recordings are learned."""
        return self.kind not in _PASSING


def text_of(notes: Iterable[Note]) -> str:
    """Returns the notes on a score as one text: "short: ...; clipping: ..."."""
    return "; ".join(f"{note.kind}: {note}" for note in notes)
