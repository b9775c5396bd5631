"""What a fit says of its own normal sounds: how they score, copies, and what may not be normal."""

import dataclasses

import numpy as np

from asd_jax.detector.detector import Detector
from asd_jax.detector.fitting import copies

_FAR_OUT = 3.0  # interquartile ranges above the upper quartile (Tukey's "far out")
_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """Of the normal sounds a detector was fitted to.

    Attributes:
        recordings: number of them.
        windows: number of their windows.
        scores: {"least", "median", "highest"} of the self-scores, and the "threshold".
        histogram: of the self-scores, one character a bin from the least to the highest.
        suspects: (recording, start in seconds, self-score) of windows that may not be normal, the
            oddest first.
        copies: pairs of recordings that sound all but the same.
        notes: what the fit itself had to say.
    """

    recordings: int
    windows: int
    scores: dict[str, float]
    histogram: str
    suspects: list[tuple[str, float, float]]
    copies: list[tuple[str, str]]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """In words, for the screen."""
        s = self.scores
        said = [
            f"{self.recordings} normal recordings, {self.windows} windows; their own scores: "
            f"median {s['median']:.2f}, "
            f"highest {s['highest']:.2f}, threshold {s['threshold']:.2f}",
            f"  {s['least']:.2f} {self.histogram} {s['highest']:.2f}",
            *(f"note: {note}" for note in self.notes),
            *(f"near-duplicates, which count as one: {a} and {b}" for a, b in self.copies[:10]),
        ]
        if len(self.copies) > 10:
            said.append(f"... and {len(self.copies) - 10} more such pairs")
        if self.suspects:
            said.append(
                "odd among the normal sounds (listen to them; if they are not normal, remove them "
                "and fit again):"
            )
            said += [
                f"  {name} at {start:.1f} s: score {score:.2f}"
                for name, start, score in self.suspects[:10]
            ]
        return said


def self_check(detector: Detector) -> SelfCheck:
    """Looks at the self-scores and vectors of a detector's own normal sounds."""
    bank, normal = detector.bank, detector.bank.normal
    low, high = np.quantile(normal, [0.25, 0.75])
    counted = np.flatnonzero(bank.counted)
    odd = np.flatnonzero(normal > high + _FAR_OUT * (high - low))
    odd = odd[np.argsort(-normal[odd], kind="stable")]
    counts = np.histogram(normal, bins=20)[0]
    return SelfCheck(
        len(detector.names),
        len(detector.recording),
        {
            "least": float(normal.min()),
            "median": float(np.median(normal)),
            "highest": float(normal.max()),
            "threshold": detector.threshold,
        },
        "".join(
            _BARS[round(count / counts.max() * (len(_BARS) - 1))] if count else " "
            for count in counts
        ),
        [
            (
                detector.names[detector.recording[counted[n]]],
                float(detector.start[counted[n]]),
                float(normal[n]),
            )
            for n in odd
        ],
        [
            (detector.names[a], detector.names[b])
            for a, b in copies(detector.recording[bank.rows["level"]], bank.vectors["level"])
        ],
        detector.notes,
    )
