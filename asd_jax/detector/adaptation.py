"""Adapts a detector to the level and spectral colour of a new session, but never to a fault."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import resample
from asd_jax.data.simulated_session import COLOUR_DB, smooth_colours
from asd_jax.detector.detector import Detector
from asd_jax.detector.processing import cut_waveform
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

    def message(self) -> str:
        """Returns a description in words."""
        correction = (
            f"level {self.colour[0]:+.1f} dB, colour up to {max(map(abs, self.colour[1:])):.1f} dB"
        )
        scores = f"median score {self.before:.2f} before, {self.after:.2f} after"
        if self.settled and self.before > self.detector.threshold:
            return (
                f"adapted: {correction}; {scores}; without that these minutes are above the "
                f"threshold of {self.detector.threshold:.2f}: make sure that the machine is healthy"
            )
        if self.settled:
            return f"adapted: {correction}; {scores}"
        # The colour is clipped, so a value at its limit stands for that much or more.
        if any(abs(value) >= most for value, most in zip(self.colour, COLOUR_DB, strict=True)):
            return (
                f"not adapted: the sound differs by more than another place of the microphone does "
                f"({correction} or more; {scores}, threshold {self.detector.threshold:.2f}): a "
                "fault, or another input gain; its scores are kept as they are"
            )
        return (
            f"not adapted: the sound stays anomalous when level and colour ({correction}) are "
            f"corrected ({scores}, threshold {self.detector.threshold:.2f}): a fault, or another "
            "machine; its scores are kept as they are"
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
    windows = np.concatenate([cut_waveform(wave, settings, rate)[0] for wave in waves])
    return adapted_to_windows(detector, windows)


def adapted_to_windows(detector: Detector, windows: Float[np.ndarray, "b s"]) -> Adaptation:
    """Returns the same as `adapted`, for windows at the sampling rate of the encoder."""
    # The reference is the fit, not an earlier session that the detector was adapted to.
    plain = dataclasses.replace(detector, colour=())
    level = views(detector.pipeline, windows)[0]["level"]
    normal = detector.bank.vectors["level"]
    shapes = smooth_colours(_filter_hz(detector))
    # The nearest normal windows are found by the fine structure of the spectra, which no smooth
    # colour changes.
    inverse = np.linalg.pinv(shapes)
    fine = level - level @ inverse @ shapes
    fine_normal = normal - normal @ inverse @ shapes
    nearest = np.square(fine[:, None] - fine_normal[None]).sum(2).argmin(1)
    # A burst, such as a voice, is in few windows, so the median does not see it.
    difference_db = np.median(DECIBELS * (level - normal[nearest]), axis=0)
    # A filter whose level varies among normal sounds is less reliable.
    reliability = 1 / (normal.std(0) + np.median(normal.std(0)))
    # A fault changes few filters. Least squares would follow them, and so hide the fault.
    estimate = _least_absolute(shapes * reliability, difference_db * reliability)
    # What lies beyond the limits stays uncorrected and keeps the score high.
    limited = estimate.clip(-np.array(COLOUR_DB), COLOUR_DB)
    colour = tuple(float(round(value, 4)) for value in limited)
    corrected = dataclasses.replace(detector, colour=colour)
    before = float(np.median(fused(plain.process(windows)[0])))
    after = float(np.median(fused(corrected.process(windows)[0])))
    # Healthy minutes must come close to the usual score; below the threshold is not enough.
    usual = float(np.median(detector.bank.normal))
    # A microphone does not explain a larger change of level or colour, but a louder machine does.
    explained = bool((np.abs(estimate) <= COLOUR_DB).all())
    settled = explained and after <= usual + _HEALTHY * (detector.threshold - usual)
    return Adaptation(corrected if settled else plain, settled, colour, before, after)


def _filter_hz(detector: Detector) -> np.ndarray:
    """Returns the centre frequencies of the filters of the view "level"."""
    return mel_front_end(detector.input_rate).filter_centres


def _least_absolute(shapes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the coefficients of shapes "k f" that fit values "f" with least absolute errors."""
    # Least squares, reweighted by the errors of the previous round.
    weight = np.ones(len(values))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq((shapes * root).T, values * root, rcond=None)[0]
        # An error of zero would get an infinite weight.
        weight = 1 / np.maximum(np.abs(values - coefficients @ shapes), 1e-6)
    return coefficients


class Settling:
    """Scores windows at the recorded rate, and adapts the detector after the first minutes.

    Attributes:
        detector: the present detector.
        news: the event that the detector was adapted or not, until the watch has taken it.
    """

    def __init__(self, detector: Detector, rate: int, minutes: float):
        self.detector = detector
        self.rate = rate
        count = round(60 * minutes / detector.settings.window_seconds)
        # Less than half a window still means one window.
        self._wanted = count or int(minutes > 0)  # windows to adapt to
        self._windows: list[np.ndarray] = []
        self.news: dict | None = None

    def compile(self, samples: int) -> None:
        """Scores silence once, so that compilation does not delay the first window."""
        self._score(np.zeros(samples, np.float32))

    def __call__(self, wave: np.ndarray) -> float:
        score = self._score(wave)
        if len(self._windows) < self._wanted:
            self._windows.append(resample(wave, self.rate, self.detector.input_rate))
            if len(self._windows) == self._wanted:
                # The detector adapts once, because adapting again and again would follow a slow
                # fault.
                adaptation = adapted_to_windows(self.detector, np.stack(self._windows))
                self.detector = adaptation.detector
                # The windows are minutes of sound, which nobody needs any more.
                self._windows = []
                self._wanted = 0
                event = "settled" if adaptation.settled else "not_settled"
                self.news = {"event": event, "colour_db": list(adaptation.colour)}
                self.news["message"] = adaptation.message()
        return score

    def _score(self, wave):
        """Returns the score of one window at the recorded rate."""
        window = resample(wave, self.rate, self.detector.input_rate)[None]
        return float(fused(self.detector.process(window)[0])[0])
