"""The detector: learns what one healthy machine sounds like, and scores further sounds of it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from jaxtyping import Float

from asd_jax.data.simulated_session import coloured, smooth_colours
from asd_jax.detector import examination, file, learning
from asd_jax.detector.fitting import threshold_of
from asd_jax.detector.heat_map import HeatMap
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.options import FitOptions, RecordingOptions, check_options
from asd_jax.detector.settings import Settings
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.views import rate_of, views
from asd_jax.scoring.conformal import p_values
from asd_jax.scoring.normal_bank import NormalBank
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.training.runtime import check_runtime
from asd_jax.training.weights import BOX, Pipeline


@dataclasses.dataclass(frozen=True)
class Detector:
    """A model of one machine's normal sounds, which scores further sounds of the machine.

    The sounds are compared in the views of a filter bank and an encoder.

        detector = Detector.fit(waves, sample_rate=16000)
        detector.score(wave), detector.is_anomaly(wave)

    Attributes:
        pipeline: the encoder; None for the filter bank alone.
        bank: the normal sounds and their scores.
        settings: the settings of the fit.
        threshold: score above which a sound is called anomalous.
        notes: notes on the fit for the user.
        names: names of the normal recordings.
        reduced: whether only a coreset of the encoder's vectors was kept.
        origin: source of the encoder's weights.
        patches: normal patches at each frequency, for `explain`; None in files of earlier versions.
        sessions: sessions of the normal recordings; "" if the user gave none.
        colour: difference between the sound of the present session and the normal sounds, in dB
            (see adaptation.py).
    """

    pipeline: Pipeline | None
    bank: NormalBank
    settings: Settings
    threshold: float
    notes: tuple[Note, ...]
    names: tuple[str, ...]
    reduced: bool = False
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)
    patches: PatchBank | None = None
    sessions: tuple[str, ...] = ()
    colour: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        waves: Iterable[Float[np.ndarray, "s"]],
        sample_rate: int = 16000,
        *,
        weights: str | Path | Pipeline | None = BOX,
        **options: Unpack[FitOptions],
    ) -> "Detector":
        """Returns a detector fitted to recordings of the healthy machine.

        `notes` of the result lists what was unusual.

            Detector.fit(waves, 16000, sessions=["monday", "tuesday", ...], false_alarm_rate=0.01)

        Args:
            waves: mono float arrays in [-1, 1]; each is released after processing. A note reports
                recordings that are much shorter than the window.
            sample_rate: sampling rate of the waveforms, in Hz.
            weights: weight file of an encoder ("box": the one that comes with the package), or a
                loaded encoder; None uses the filter bank alone.
            options: attributes of `FitOptions`: names, sessions and domains of the recordings,
                window_seconds, false_alarm_rate and others.

        Raises:
            InputError: there are fewer than three windows in all, or fewer than three recordings
                that are not copies; a waveform is not finite or not mono; a setting is invalid; or
                the number of names, domains, sessions or trained differs from that of the
                recordings.
        """
        check_options(options, FitOptions)
        return cls(**learning.fitted_attributes(waves, sample_rate, weights, options))

    def update(
        self,
        waves: Iterable[Float[np.ndarray, "s"]],
        *,
        keep_odd: bool = False,
        **known: Unpack[RecordingOptions],
    ) -> "Detector":
        """Returns a new detector that also knows further normal recordings.

        The bank and the threshold are fitted again.

        Args:
            waves: further recordings, as for `fit`.
            keep_odd: whether to learn from recordings that are far from all others, too.
            known: names, domains and sessions of these recordings, attributes of
                `RecordingOptions`; domains are required if the detector distinguishes them.

        Raises:
            InputError: as for `fit`; or a recording has no domain, but the detector distinguishes
                domains.
        """
        check_options(known, RecordingOptions)
        learned = learning.updated_attributes(self, waves, known, keep_odd=keep_odd)
        return dataclasses.replace(self, **learned)

    def with_false_alarm_rate(self, rate: float) -> "Detector":
        """Returns the same detector with the threshold for another false-alarm rate.

        The stored scores of the normal sounds suffice for that; no recording is needed.

        Raises:
            InputError: the rate is outside 1e-9 .. 1 - 1e-9.
        """
        settings = dataclasses.replace(self.settings, false_alarm_rate=rate)
        threshold, weakness = threshold_of(self.bank, settings, learning.recording_table(self))
        # What these notes say depends on the rate.
        about_rate = (Kind.TOO_FEW, Kind.THRESHOLD)
        notes = [note for note in self.notes if note.kind not in about_rate]
        notes += [Note(Kind.TOO_FEW, weakness)] if weakness else []
        return dataclasses.replace(self, settings=settings, threshold=threshold, notes=tuple(notes))

    def with_runtime(self, name: str) -> "Detector":
        """Returns the same detector with an encoder that is computed by `name`, one of RUNTIMES.

        Raises:
            InputError: the runtime is not installed, or cannot run here.
        """
        if self.pipeline is None or name == "jax":
            return self
        # A file names no runtime, which is a matter of the computer and not of the detector.
        check_runtime(name)
        return dataclasses.replace(self, pipeline=dataclasses.replace(self.pipeline, runtime=name))

    def score(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> float:
        """Returns the anomaly score of a waveform, in standard deviations of normal sounds.

        `examine` returns more details.

        Args:
            wave: mono, in [-1, 1], at least as long as a window; a shorter one is repeated to fill
                the window, and its score is not comparable (see the note of the verdict).
            sample_rate: in Hz; by default that of the fit.
        """
        return self.examine(wave, sample_rate).score

    def is_anomaly(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> bool:
        """Returns whether the score is above the threshold; the arguments are those of `score`."""
        return self.examine(wave, sample_rate).is_anomaly

    def examine(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> Verdict:
        """Returns the score, p-value, decision, worst second and frequency band of a waveform.

        The arguments are those of `score`.

        Raises:
            InputError: the waveform is not mono, not of floats, not finite or empty.
        """
        return self.examine_all([wave], sample_rate)[0]

    def examine_all(
        self, waves: Sequence[np.ndarray], sample_rate: int | None = None
    ) -> list[Verdict]:
        """Returns the verdict of `examine` for each waveform.

        Their windows are processed together, spread over the devices.

        Raises:
            InputError: as for `examine`.
        """
        return examination.examine_all(self, waves, self._settings_at(sample_rate))

    def explain(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> HeatMap:
        """Returns where in time and frequency the worst window of a waveform is anomalous.

        The arguments are those of `score`.

        Raises:
            InputError: as for `examine`; or the detector is of an earlier version, which kept no
                patches.
        """
        return examination.explain(self, wave, self._settings_at(sample_rate))

    def process(
        self, windows: Float[np.ndarray, "b s"]
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"]]:
        """Returns ({scorer: scores "b"}, log energies of each second "b m f") of windows "b s".

        The windows have the sampling rate `input_rate`.
        """
        # The program of the rhythm takes long to compile, and a bank without it does not need it.
        with_rhythm = "rhythm" in self.bank.scoring
        vectors, seconds = views(self.pipeline, self.as_fitted(windows), with_rhythm=with_rhythm)
        return self.bank.score(vectors), seconds

    def as_fitted(self, windows: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b s"]:
        """Returns the windows without the spectral colour of the present session."""
        if not self.colour:
            return windows
        hz = np.fft.rfftfreq(windows.shape[1], 1 / self.input_rate)
        # The colour is what the session adds, so its negative takes it away.
        decibels = -np.asarray(self.colour) @ smooth_colours(hz)
        return np.stack([coloured(window, decibels) for window in windows])

    def p_value(self, score: float) -> float:
        """Returns the share of normal windows, this one included, that score at least as high."""
        return float(p_values(np.array([score]), self.bank.normal)[0])

    @property
    def recorded_rate(self) -> int:
        """Returns the sampling rate of the sound that can be compared, in Hz.

        It is lower than `input_rate` if the normal sounds were recorded at a lower rate.
        """
        return min(self.settings.sample_rate, self.input_rate)

    @property
    def input_rate(self) -> int:
        """Returns the sampling rate of the windows, in Hz."""
        return rate_of(self.pipeline)

    def __repr__(self) -> str:
        encoder = "filter bank" if self.pipeline is None else "filter bank and encoder"
        # A fit in Python prints no notes, so they are pointed at here.
        notes = f"; notes: {len(self.notes)}, see .notes" if self.notes else ""
        return (
            f"Detector({len(self.names)} recordings, {len(self.bank.windows)} windows of "
            f"{self.settings.window_seconds:g} s, {encoder}, threshold {self.threshold:.3f} for a "
            f"false-alarm rate of {self.settings.false_alarm_rate:g}{notes})"
        )

    def save(self, path: str | Path) -> None:
        """Writes the detector to one safetensors file."""
        file.save(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Returns the detector that `save` wrote; nothing in the file is ever executed.

        Raises:
            InputError: the file is missing, truncated, altered, of another kind or of a newer
                format.
        """
        return cls(**file.load_attributes(path))

    def _settings_at(self, sample_rate: int | None) -> Settings:
        """Returns the settings for sound of this rate."""
        if sample_rate is None:
            return self.settings
        return dataclasses.replace(self.settings, sample_rate=sample_rate)
