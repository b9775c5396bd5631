"""The detector as a scikit-learn estimator, for pipelines, searches and cross-validation.

from asd_jax.sklearn import SoundAnomalyDetector

estimator = SoundAnomalyDetector().fit(["monday/1.wav", "monday/2.wav", ...])
estimator.predict(["today.wav"])  # -1: anomalous, 1: normal
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from asd_jax.data.sounds import Sounds, list_of_sounds, names_of_sounds, waveforms
from asd_jax.detector.detector import Detector
from asd_jax.training.weights import BOX, Pipeline

# Sounds in memory at once while they are scored; file names may be many.
_CHUNK = 64


class SoundAnomalyDetector(OutlierMixin, BaseEstimator):
    """A `Detector` with scikit-learn's methods: fit, predict, score_samples, decision_function.

    Sounds are waveforms, which may differ in length, or file names; an array "b s" is b waveforms.
    As everywhere in scikit-learn, a higher score is more normal and an outlier is -1.

        estimator = SoundAnomalyDetector(weights=None).fit(waves)
        estimator.decision_function(more)  # negative: anomalous

    Args:
        sample_rate: sampling rate of the waveforms in Hz; files are resampled to it.
        weights: the encoder: "box", a weight file, a loaded pipeline, or None for the filter bank
            alone.
        window_seconds: length of a window; None is the median length of the sounds, at most 10.
        false_alarm_rate: share of normal sounds of a new session that may be called anomalous.
        coreset_size: number of the encoder's vectors to keep; 0 keeps all.
        machine: selects the SimAM mode, if the weights have one per machine.
        keep_odd: whether to learn from sounds that are far from all others, too.

    Attributes:
        detector_: the fitted `Detector`, with `examine`, `explain` and `save`.
        offset_: the threshold on `score_samples`.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        weights: str | Path | Pipeline | None = BOX,
        window_seconds: float | None = None,
        false_alarm_rate: float = 0.05,
        coreset_size: int = 0,
        machine: str | None = None,
        keep_odd: bool = False,
    ):
        # scikit-learn's clone and searches need each argument unchanged under its own name.
        self.sample_rate = sample_rate
        self.weights = weights
        self.window_seconds = window_seconds
        self.false_alarm_rate = false_alarm_rate
        self.coreset_size = coreset_size
        self.machine = machine
        self.keep_odd = keep_odd

    def fit(
        self,
        X: Sounds,
        y: object = None,
        *,
        sessions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
    ) -> "SoundAnomalyDetector":
        """Returns the estimator, fitted to sounds of the healthy machine.

        Args:
            X: the sounds.
            y: ignored; scikit-learn's pipelines pass it.
            sessions: the day, or the microphone setup, of each sound.
            domains: "source" or "target" of each sound, if conditions differ.

        Raises:
            InputError: as for `Detector.fit` and `waveforms`; it is a ValueError.
        """
        sounds = list_of_sounds(X)
        # The underscore at the end marks what fit has learnt; check_is_fitted looks for it.
        self.detector_ = Detector.fit(
            waveforms(sounds, self.sample_rate),
            names=names_of_sounds(sounds),
            sessions=sessions,
            domains=domains,
            # The parameters are those of Detector.fit, by the same names.
            **self.get_params(deep=False),
        )
        # Higher is more normal in scikit-learn, so every sign is reversed.
        self.offset_ = -self.detector_.threshold
        return self

    def score_samples(self, X: Sounds) -> Float[np.ndarray, "n"]:
        """Returns the negative anomaly score "n" of each sound, in standard deviations.

        Raises:
            NotFittedError: `fit` was not called.
            InputError: a sound cannot be read or scored.
        """
        check_is_fitted(self)
        sounds = list_of_sounds(X)
        # Chunks bound the memory; a chunk fills several batches.
        verdicts = []
        for first in range(0, len(sounds), _CHUNK):
            verdicts += self.detector_.examine_all(
                waveforms(sounds[first : first + _CHUNK], self.sample_rate), self.sample_rate
            )
        return np.array([-verdict.score for verdict in verdicts])

    def decision_function(self, X: Sounds) -> Float[np.ndarray, "n"]:
        """Returns `score_samples` above the threshold, "n": negative for an anomalous sound."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Sounds) -> Int[np.ndarray, "n"]:
        """Returns -1 for an anomalous and 1 for a normal sound, "n"."""
        # A score at the threshold itself is normal, as in `Detector.is_anomaly`.
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self):
        """Returns scikit-learn's description of the estimator's input."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True  # file names
        return tags
