"""Summarises a fit: scores of the normal sounds, duplicates, and sounds that may not be normal."""

import dataclasses

import numpy as np

from asd_jax.detector.detector import Detector
from asd_jax.detector.grouping import copies
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.outliers import FAR_OUT
from asd_jax.detector.sessions import stretches
from asd_jax.detector.views import mel_front_end
from asd_jax.features.filter_bank import DECIBELS, ENERGY_FLOOR, frame_matrix
from asd_jax.scoring.conformal import min_normal_sounds, percent_text

_TUKEY = 3.0  # interquartile ranges above the upper quartile (Tukey's "far out")
_MODES = 3.0  # operating modes differ by this multiple of the limit between stretches
# Share of the filters that hold no more energy than the least that the front end resolves.
_TOO_QUIET = 0.5
_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """Summary of the normal sounds that a detector was fitted to.

    Attributes:
        recordings: number of recordings.
        windows: number of windows.
        scores: {"least", "median", "highest"} of the self-scores, and the "threshold".
        histogram: histogram of the self-scores, one character per bin from the lowest to the
            highest.
        suspects: (recording, start in seconds, self-score) of windows that may not be normal, from
            the highest score down.
        copies: pairs of recordings that sound almost identical.
        notes: notes of the fit.
        sessions: {"count", "known" (whether the user gave them), "hours", "modes" (number of
            operating modes)}.
        floor_db: noise floor: mean level of the quietest filter, as that of white noise of this
            level relative to full scale, in dB. Rounding to 16 bits gives -101 dB.
        clipped: whether recordings are clipped; a note names them.
        false_alarms_a_day: windows of a healthy machine above the threshold per day,
            {"same_session", "new_session"}; for a new session this is the rate asked for, or the
            lowest rate that the sounds can support.
        verdict: "enough", "usable, but" or "not enough".
        why: reason of the verdict, "" if it is "enough".
    """

    recordings: int
    windows: int
    scores: dict[str, float]
    histogram: str
    suspects: list[tuple[str, float, float]]
    copies: list[tuple[str, str]]
    notes: tuple[Note, ...]
    sessions: dict[str, int | float | bool]
    floor_db: float
    clipped: bool
    false_alarms_a_day: dict[str, float]
    verdict: str
    why: str

    def as_json(self) -> dict:
        """Returns the summary as a JSON object."""
        notes = [str(note) for note in self.notes]
        return dataclasses.asdict(self) | {"notes": notes}

    def lines(self) -> list[str]:
        """Returns the summary as lines of text."""
        scores = self.scores
        lines = [
            f"{_many(self.recordings, 'normal recording')}, {_many(self.windows, 'window')}; their "
            f"own scores: median {scores['median']:.2f}, highest {scores['highest']:.2f}, "
            f"threshold {scores['threshold']:.2f}",
            f"  {scores['least']:.2f} {self.histogram} {scores['highest']:.2f}",
            f"{self._sessions()}, {_duration(self.sessions['hours'])}, "
            f"{_many(self.sessions['modes'], 'operating mode')}; noise floor "
            f"{self.floor_db:.0f} dB, {'' if self.clipped else 'no '}clipping",
            "false alarms a day, listening all the time: about "
            f"{self.false_alarms_a_day['same_session']:.0f} in these sessions, "
            f"{self.false_alarms_a_day['new_session']:.0f} in a new one, before --confirm",
            f"{self.verdict}{f' {self.why}' if self.why else ' for the false-alarm rate asked'}",
            *(f"note: {note}" for note in self.notes),
            *(f"near-duplicates, which count as one: {a} and {b}" for a, b in self.copies[:10]),
        ]
        if len(self.copies) > 10:
            lines.append(f"... and {len(self.copies) - 10} more such pairs")
        if self.suspects:
            lines.append(
                "anomalous among the normal sounds (listen to them; if they are not normal, remove "
                "them and fit again):"
            )
            lines += [
                f"  {name} at {start:.1f} s: score {score:.2f}"
                for name, start, score in self.suspects[:10]
            ]
        return lines

    def _sessions(self) -> str:
        """Returns the number of sessions in words; stretches are no more than a guess."""
        count = self.sessions["count"]
        if self.sessions["known"] or self.recordings == 1:
            return _many(count, "session")
        return f"{count} stretch{'es' * (count > 1)} of similar sound"


def self_check(detector: Detector) -> SelfCheck:
    """Returns the summary of a detector's normal sounds, from their self-scores and vectors."""
    bank = detector.bank
    normal = bank.normal
    # Copies add no evidence, so whoever counts recordings should know of them.
    duplicates = copies(bank.windows.recording[bank.rows["level"]], bank.vectors["level"])
    sessions = _sessions(detector)
    verdict, why = _verdict(detector, sessions)
    return SelfCheck(
        recordings=len(detector.names),
        windows=len(bank.windows),
        scores={
            "least": float(normal.min()),
            "median": float(np.median(normal)),
            "highest": float(normal.max()),
            "threshold": detector.threshold,
        },
        histogram=_histogram(normal),
        suspects=_suspects(detector),
        copies=[(detector.names[a], detector.names[b]) for a, b in duplicates],
        notes=detector.notes,
        sessions=sessions,
        floor_db=float(filter_levels(detector).min()),
        clipped=any(note.kind == Kind.CLIPPED_RECORDINGS for note in detector.notes),
        false_alarms_a_day=_alarms_a_day(detector),
        verdict=verdict,
        why=why,
    )


def _histogram(scores: np.ndarray) -> str:
    """Returns a histogram of scores, one character per bin."""
    counts = np.histogram(scores, bins=20)[0]
    return "".join(
        _BARS[round(count / counts.max() * (len(_BARS) - 1))] if count else " " for count in counts
    )


def _suspects(detector: Detector) -> list[tuple[str, float, float]]:
    """Returns the windows that may not be normal, from the highest self-score down."""
    bank = detector.bank
    scores = bank.deviations
    window = np.flatnonzero(bank.self_scores.of)
    low, high = np.quantile(scores, [0.25, 0.75])
    # The fence follows the spread of the scores; FAR_OUT keeps it from being narrow.
    far_out = np.flatnonzero(scores > max(high + _TUKEY * (high - low), FAR_OUT))
    far_out = far_out[np.argsort(-scores[far_out], kind="stable")]
    return [
        (
            detector.names[bank.windows.recording[window[n]]],
            float(bank.windows.start[window[n]]),
            float(scores[n]),
        )
        for n in far_out
    ]


def _sessions(detector: Detector) -> dict[str, int | float | bool]:
    """Returns how many sessions and operating modes the normal sounds have, and how many hours."""
    windows = detector.bank.windows
    level = detector.bank.vectors["level"]
    recording = windows.recording[detector.bank.rows["level"]]
    # A mode may span sessions and domains, so nothing is kept apart.
    one_part = np.zeros(len(level), np.int64)
    modes = stretches(level, _MODES * windows.unsteadiness, recording, one_part)
    return {
        "count": len(np.unique(detector.bank.windows.session)),
        "known": all(detector.sessions) and bool(detector.sessions),
        "hours": len(windows) * detector.settings.window_seconds / 3600,
        "modes": len(np.unique(modes)),
    }


def _alarms_a_day(detector: Detector) -> dict[str, float]:
    """Returns the number of windows above the threshold in a day of sound."""
    windows = 86400 / detector.settings.window_seconds
    bank = detector.bank
    # These are scores against other windows of the same session, as on the day of the fit.
    same_session = np.mean(bank.fused_self_scores > detector.threshold)
    # n sessions cannot show a rate below 1 / (n + 1).
    least = 1 / (1 + len(np.unique(bank.normal_session)))
    too_few = len(bank.normal) < min_normal_sounds(detector.settings.false_alarm_rate)
    # With too few sounds, the rate that was asked for cannot be verified.
    rate = max(detector.settings.false_alarm_rate, least if too_few else 0)
    return {"same_session": float(windows * same_session), "new_session": float(windows * rate)}


def filter_levels(detector: Detector) -> np.ndarray:
    """Returns the mean level of each filter that is not empty, in dB.

    It is the level of white noise of as much energy; at full scale its standard deviation is 1.
    """
    rate = detector.input_rate
    real, imaginary = np.split(np.square(frame_matrix(rate)).sum(1), 2)
    energy = mel_front_end(rate).filters @ (real + imaginary)
    # The lowest filters are so narrow that some lie between two frequencies of the DFT.
    has_energy = energy > 0
    level = detector.bank.vectors["level"].mean(0)[has_energy]
    return DECIBELS * (level - np.log(energy[has_energy]))


def _verdict(detector: Detector, sessions) -> tuple[str, str]:
    """Returns (verdict on the normal sounds, its reason)."""
    rate = detector.settings.false_alarm_rate
    windows = len(detector.bank.normal)
    recordings = _many(len(detector.names), "recording")
    if windows < min_normal_sounds(rate):
        return "not enough", (
            f"for false alarms of {percent_text(rate)}: {windows} windows of {recordings}; record "
            f"at least {min_normal_sounds(rate)}"
        )
    reasons = []
    if not (sessions["known"] and all(detector.bank.by_sessions.values())):
        reasons.append(_on_few_sessions(detector, sessions, recordings))
    if any(note.kind == Kind.CLIPPED_RECORDINGS for note in detector.notes):
        reasons.append("some recordings are clipped: turn the input level down, and record again")
    level = detector.bank.vectors["level"].mean(0)
    # At the floor, rounding is all there is to compare.
    if np.mean(level < np.log(2 * ENERGY_FLOOR)) > _TOO_QUIET:
        reasons.append("the sound is as quiet as the rounding of samples: turn the input level up")
    return ("usable, but", "; ".join(reasons)) if reasons else ("enough", "")


def _on_few_sessions(detector: Detector, sessions, recordings: str) -> str:
    """Returns what is not known of other days, and what to record next."""
    if sessions["known"]:
        recorded = _many(sessions["count"], "session")
    elif len(detector.names) == 1:
        recorded = f"one session: {recordings}, cut into {len(detector.bank.windows)} windows"
    else:
        recorded = f"{recordings} of unknown sessions"
    return (
        f"another day is assumed, not recorded ({recorded}): record on three days or more, with "
        "the microphone set up again each time, one subfolder per day"
    )


def _duration(hours: float) -> str:
    """Returns hours as text, in minutes if it is less than one."""
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _many(count: int | float, name: str) -> str:
    """Returns a number and a noun, in the plural unless it is one."""
    return f"{count} {name}{'s' * (count != 1)}"
