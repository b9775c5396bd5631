"""The result of a detector for one sound."""

import dataclasses

import numpy as np

from asd_jax.detector.notes import Note, text_of
from asd_jax.detector.where import Band

# What a view compares, in the words of a sentence: "it differs most in its ...".
VIEW_WORDS = {
    "level": "mean spectrum",
    "fluctuation": "variation over time",
    "rhythm": "rhythm",
    "encoder": "encoder embedding",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of a detector for one sound.

    Attributes:
        score: anomaly score, in standard deviations of normal sounds of a new session; the mean
            over windows.
        threshold: score above which the sound is called anomalous.
        p_value: share of normal windows, the one under test included, with at least this score.
        is_anomaly: whether the score is above the threshold.
        worst_seconds: start and end of the most anomalous second.
        view: the view with the highest score in the worst window: "level" (mean spectrum),
            "fluctuation" (variation over time), "rhythm" (order and timing of events) or "encoder"
            (embedding).
        windows: score of each window.
        notes: reasons why the score is not comparable, if any.
        band: the frequencies in which the worst second differs most from normal sounds.
    """

    score: float
    threshold: float
    p_value: float
    is_anomaly: bool
    worst_seconds: tuple[float, float]
    view: str
    windows: np.ndarray
    notes: tuple[Note, ...] = ()
    band: Band | None = None

    @property
    def note(self) -> str:
        """Returns the notes as one text: "short: ...; clipping: ...", "" if there are none."""
        return text_of(self.notes)

    @property
    def difference(self) -> str:
        """Returns in what the sound differs most from normal sounds, as words."""
        band = f", {self.band}" if self.band else ""
        return f"it differs most in its {VIEW_WORDS[self.view]}{band}"

    @property
    def alarm_message(self) -> str:
        """Returns the score, the threshold and the difference, as the message of an alarm."""
        return f"score {self.score:.2f} above {self.threshold:.2f}; {self.difference}"

    def noted(self, *notes: Note) -> "Verdict":
        """Returns the same verdict with further notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))
