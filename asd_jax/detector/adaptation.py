"""Adapts a detector to the level and spectral colour of a new session, but never to a fault."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import resample
from asd_jax.data.simulated_session import COLOUR_DB, smooth_colours
from asd_jax.detector.detector import Detector
from asd_jax.detector.processing import windows_of
from asd_jax.detector.views import mel_front_end, views
from asd_jax.features.filter_bank import DECIBELS
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused

_ROUNDS = 20  # iterations of the reweighted fit of least absolute differences
# How far the adapted score may lie on the way from the usual score to the threshold. A fault that
# level and colour explain only in part stays far above this limit and is not learnt.
_HEALTHY = 0.5


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """The result of adapting a detector to the first minutes of a session.

    Attributes:
        detector: the adapted detector, or the original one.
        settled: whether the detector was adapted.
        colour: gain and smooth spectral colour found, in dB.
        before: median score of the minutes.
        after: median score with the adapted detector, whether it is kept or not.
    """

    detector: Detector
    settled: bool
    colour: tuple[float, ...]
    before: float
    after: float

    def said(self) -> str:
        """Returns a description in words."""
        found = (
            f"level {self.colour[0]:+.1f} dB, colour up to {max(map(abs, self.colour[1:])):.1f} dB"
        )
        scores = f"median score {self.before:.2f} before, {self.after:.2f} after"
        if self.settled and self.before > self.detector.threshold:
            return (
                f"adapted: {found}; {scores}; without that these minutes are above the threshold "
                f"of {self.detector.threshold:.2f}: make sure that the machine is healthy"
            )
        if self.settled:
            return f"adapted: {found}; {scores}"
        if any(abs(one) >= most for one, most in zip(self.colour, COLOUR_DB, strict=True)):
            return (
                f"not adapted: the sound differs by more than another place of the microphone does "
                f"({found} or more; {scores}, threshold {self.detector.threshold:.2f}): a fault, "
                "or another input gain; its scores are kept as they are"
            )
        return (
            f"not adapted: the sound stays odd when level and colour ({found}) are taken out "
            f"({scores}, threshold {self.detector.threshold:.2f}): a fault, or another machine; "
            "its scores are kept as they are"
        )


def adapted(detector: Detector, waves: Sequence[Float[np.ndarray, "s"]]) -> Adaptation:
    """Returns the detector adapted to healthy waveforms of a new session.

    The waveforms have the sampling rate given at the fit. The adaptation estimates a gain and three
    smooth spectral colours by which the sounds differ from the nearest normal ones, limited to the
    differences between microphones. It uses least absolute differences over frequencies and the
    median over windows, so that neither spectral lines nor bursts affect it.

    Raises:
        InputError: there is no waveform, or as for `Detector.examine`.
    """
    if not len(waves):
        raise InputError("no sound to adapt to")
    settings = detector.settings
    rate = detector.input_rate
    windows = np.concatenate([windows_of(wave, settings, rate)[0] for wave in waves])
    return adapted_to_windows(detector, windows)


def adapted_to_windows(detector: Detector, windows: Float[np.ndarray, "b s"]) -> Adaptation:
    """Returns the same as `adapted`, for windows at the sampling rate of the encoder."""
    plain = dataclasses.replace(detector, colour=())
    level = views(detector.pipeline, windows)[0]["level"]
    normal = detector.bank.vectors["level"]
    shapes = smooth_colours(_filter_hz(detector))
    fine = [of - of @ np.linalg.pinv(shapes) @ shapes for of in (level, normal)]
    nearest = np.square(fine[0][:, None] - fine[1][None]).sum(2).argmin(1)
    differs = np.median(DECIBELS * (level - normal[nearest]), axis=0)
    # A filter whose level varies among normal sounds is less reliable.
    sure = 1 / (normal.std(0) + np.median(normal.std(0)))
    found = _least_absolute(shapes * sure, differs * sure)
    colour = tuple(float(round(one, 4)) for one in found.clip(-np.array(COLOUR_DB), COLOUR_DB))
    tried = dataclasses.replace(detector, colour=colour)
    before, after = (float(np.median(fused(one.process(windows)[0]))) for one in (plain, tried))
    usual = float(np.median(detector.bank.normal))
    # A microphone does not explain a larger change of level or colour, but a louder machine does.
    explained = bool((np.abs(found) <= COLOUR_DB).all())
    settled = explained and after <= usual + _HEALTHY * (detector.threshold - usual)
    return Adaptation(tried if settled else plain, settled, colour, before, after)


def _filter_hz(detector: Detector) -> np.ndarray:
    """Returns the centre frequencies of the filters of the view "level"."""
    return mel_front_end(detector.input_rate).filter_centres


def _least_absolute(shapes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the coefficients of shapes "k f" that fit values "f" with least absolute errors."""
    weight = np.ones(len(values))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        found = np.linalg.lstsq((shapes * root).T, values * root, rcond=None)[0]
        weight = 1 / np.maximum(np.abs(values - found @ shapes), 1e-6)
    return found


class Settling:
    """Scores windows at the recorded rate, and adapts the detector after the first minutes."""

    def __init__(self, detector: Detector, rate: int, minutes: float):
        self.detector = detector
        self.rate = rate
        self.wanted = round(60 * minutes / detector.settings.window_seconds) or int(minutes > 0)
        self._heard: list[np.ndarray] = []
        self.news: dict | None = None

    def compile(self, samples: int) -> None:
        """Scores silence once, so that compilation does not delay the first window."""
        self._score(np.zeros(samples, np.float32))

    def __call__(self, wave: np.ndarray) -> float:
        score = self._score(wave)
        if len(self._heard) < self.wanted:
            self._heard.append(resample(wave, self.rate, self.detector.input_rate))
            if len(self._heard) == self.wanted:
                found = adapted_to_windows(self.detector, np.stack(self._heard))
                self.detector = found.detector
                self._heard = []
                self.wanted = 0
                event = "settled" if found.settled else "not_settled"
                self.news = {"event": event, "colour_db": list(found.colour)}
                self.news["message"] = found.said()
        return score

    def _score(self, wave):
        heard = resample(wave, self.rate, self.detector.input_rate)[None]
        return float(fused(self.detector.process(heard)[0])[0])
