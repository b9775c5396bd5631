"""The detector: learns what one healthy machine sounds like, and scores further sounds of it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.another_day import coloured, smooth_colours
from asd_jax.detector.defects import SAID, another_rate, defects
from asd_jax.detector.fitting import domains_of, lasting, learnt
from asd_jax.detector.hearing import (
    LONGEST_WINDOW_S,
    Heard,
    Settings,
    check_window,
    hear_all,
    usual_window,
    windows_of,
)
from asd_jax.detector.heat_map import HeatMap, grid, odd_cells
from asd_jax.detector.views import (
    for_machine,
    load_pipeline_or_eat,
    rate_of,
    scoring_of,
    second_starts,
    views,
)
from asd_jax.features.filter_bank import HOP_MS
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.conformal import p_values
from asd_jax.scoring.normal_bank import NormalBank, coreset, fused
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.training.weights import BOX, Pipeline
from asd_jax.training.weights import origin_entries as origin_of


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
        view: the view with the highest score in the worst window: "level", "fluctuation" or
            "encoder".
        windows: score of each window.
        note: reasons why the score is not comparable, if any: "short: ...", "silence: ...",
            "clipping: ...", "dropout: ...", "rate: ...", joined by "; ".
    """

    score: float
    threshold: float
    p_value: float
    is_anomaly: bool
    worst_seconds: tuple[float, float]
    view: str
    windows: np.ndarray
    note: str = ""

    def noted(self, *notes: str) -> "Verdict":
        """Returns the same verdict with further notes; empty notes are ignored."""
        return dataclasses.replace(self, note="; ".join(filter(None, (self.note, *notes))))


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
        recording: "n", the recording of each normal window.
        start: "n", the start of each normal window in its recording, in seconds.
        reduced: whether only a coreset of the encoder's vectors was kept.
        origin: source of the encoder's weights.
        patches: normal patches at each frequency, for `explain`; None in files of earlier versions.
        sessions: sessions of the normal recordings; "" if the user gave none.
        unsteadiness: "n", difference between the halves of each normal window.
        colour: difference between the sound of the present session and the normal sounds, in dB
            (see adaptation.py).
    """

    pipeline: Pipeline | None
    bank: NormalBank
    settings: Settings
    threshold: float
    notes: tuple[str, ...]
    names: tuple[str, ...]
    recording: np.ndarray
    start: np.ndarray
    reduced: bool = False
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)
    patches: PatchBank | None = None
    sessions: tuple[str, ...] = ()
    unsteadiness: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    colour: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        waves: Iterable[Float[np.ndarray, "s"]],
        sample_rate: int = 16000,
        *,
        names: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        weights: str | Path | Pipeline | None = BOX,
        machine: str | None = None,
        window_seconds: float | None = None,
        false_alarm_rate: float = 0.05,
        coreset_size: int = 0,
        tokens: bool = False,
        trained: Sequence[bool] | np.ndarray | None = None,
        origin: Mapping[str, str] | None = None,
        sessions: Sequence[str] | None = None,
        keep_odd: bool = False,
    ) -> "Detector":
        """Returns a detector fitted to recordings of the healthy machine.

        Args:
            waves: mono float arrays in [-1, 1]; each is released after processing. A note reports
                recordings that are much shorter than the window.
            sample_rate: sampling rate of the waveforms, in Hz.
            names: names of the recordings, for messages.
            domains: "source" or "target" for each recording, if conditions differ; otherwise only
                the local density of the bank compensates for different conditions.
            weights: weight file of an encoder ("box": the one that comes with the package), or a
                loaded encoder; None uses the filter bank alone.
            machine: selects the SimAM mode, if the weights have one per machine.
            window_seconds: length of a window; by default the median length of the recordings, at
                most 10.
            false_alarm_rate: share of normal windows of a new session that may exceed the
                threshold.
            coreset_size: number of the encoder's vectors to keep; 0 keeps all.
            tokens: whether `explain` compares the encoder's tokens, which localise less well than
                patches of the filter bank.
            trained: for each recording, whether the encoder was trained on it, so that its score is
                not meaningful.
            origin: description to store for loaded weights; for a weight file, its name and hash
                are stored.
            sessions: the day, or the microphone setup, of each recording; by default stretches of
                similar sound are used.
            keep_odd: whether to learn from recordings that are far from all others, too.

        Raises:
            InputError: there are fewer than three windows in all, or fewer than three recordings
                that are not copies; a waveform is not finite or not mono; a setting is invalid; or
                the number of names, domains, sessions or trained differs from that of the
                recordings.
        """
        if not isinstance(coreset_size, int | np.integer) or coreset_size < 0:
            raise InputError(
                f"a coreset of {coreset_size} windows: must be at least 1, or 0 to keep all"
            )
        settings = Settings(
            sample_rate,
            LONGEST_WINDOW_S if window_seconds is None else window_seconds,
            false_alarm_rate,
            tokens,
        )
        if isinstance(weights, str | Path):
            weights, origin = load_pipeline_or_eat(weights), origin_of(weights)
        pipeline = weights if weights is None else for_machine(weights, machine)
        if window_seconds is None:
            # The default window is the median length, so all recordings are needed before the first
            # is processed.
            waves = list(waves)
            usual = usual_window([np.size(wave) / settings.sample_rate for wave in waves])
            settings = dataclasses.replace(settings, window_seconds=usual)
        # The lengths of the waveforms of a generator are not known yet.
        elif isinstance(waves, Sequence):
            seconds = [np.size(wave) / settings.sample_rate for wave in waves]
            check_window(settings.window_seconds, seconds)
        heard, short = hear_all(
            pipeline,
            settings,
            waves,
            names=names,
            domains=domains,
            trained=trained,
            sessions=sessions,
        )

        def rows(heard):
            if pipeline is None or not 0 < coreset_size < len(heard.recording):
                return None
            everything = {view: np.arange(len(heard.recording)) for view in heard.vectors}
            return everything | {"encoder": coreset(heard.vectors["encoder"], coreset_size)}

        count, names = int(heard.recording.max()) + 1, heard.names(names)
        of_each = {
            "names": names,
            "sessions": [""] * count if sessions is None else list(map(str, sessions)),
            "domains": ["unknown"] * count if domains is None else list(domains),
            "trained": [False] * count if trained is None else list(trained),
        }
        found = learnt(
            scoring_of(pipeline),
            settings,
            heard,
            of_each,
            domain=lambda heard, group, of: domains_of(of, heard.recording, group),
            rows=rows,
            keep_odd=keep_odd,
        )
        return cls(
            pipeline,
            found.bank,
            settings,
            found.threshold,
            (*short, *found.notes),
            _those(names, found.stayed),
            found.heard.recording,
            found.heard.start,
            rows(found.heard) is not None,
            origin or {},
            found.heard.patches and PatchBank.fit(*found.heard.patches),
            _those(of_each["sessions"], found.stayed),
            found.heard.unsteadiness,
        )

    def update(
        self,
        waves: Iterable[Float[np.ndarray, "s"]],
        *,
        names: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        keep_odd: bool = False,
    ) -> "Detector":
        """Returns a new detector that also knows further normal recordings.

        The bank and the threshold are fitted again.

        Args:
            waves: further recordings, as for `fit`.
            names: names of these recordings.
            domains: domains of these recordings; required if the detector distinguishes domains.
            sessions: sessions of these recordings.
            keep_odd: whether to learn from recordings that are far from all others, too.

        Raises:
            InputError: as for `fit`; or a recording has no domain, but the detector distinguishes
                domains.
        """
        pooled = self.bank.domains == ["pooled"]
        if not pooled and (domains is None or set(domains) - {"source", "target"}):
            raise InputError(
                "this detector tells domains apart: say source or target of each recording added"
            )
        more, short = hear_all(
            self.pipeline,
            self.settings,
            waves,
            names=names,
            domains=domains,
            sessions=sessions,
        )
        new, count, old = len(more.recording), int(more.recording.max()) + 1, len(self.names)
        known, rows = None, None
        # Sounds that the coreset left out cannot be scored again, so the scores of all old sounds
        # are kept.
        if self.reduced:
            pad = np.full((new, len(self.bank.domains)), np.nan)
            known = {
                kind: {judge: np.concatenate([raw, pad]) for judge, raw in of.items()}
                for kind, of in (("raw", self.bank.raw), ("new", self.bank.new))
            }
            place = len(self.recording) + np.arange(new)
            rows = {view: np.concatenate([kept, place]) for view, kept in self.bank.rows.items()}
        heard = self.heard.with_more(more, old)
        # All windows of a recording share its domain, so the first window represents it.
        first = np.unique(self.recording, return_index=True)[1]
        of_each = {
            "names": self.names + more.names(names, old),
            "sessions": [*self.sessions, *([""] * count if sessions is None else sessions)],
            "domains": [*self.bank.domain[first], *(["pooled"] * count if pooled else domains)],
            "trained": [*~self.bank.counted[first], *[False] * count],
        }
        found = learnt(
            scoring_of(self.pipeline),
            self.settings,
            heard,
            of_each,
            domain=lambda heard, group, of: (np.asarray(of)[heard.recording], ()),
            rows=lambda heard: rows,
            known=known,
            keep_odd=keep_odd,
            first=old,
        )
        return dataclasses.replace(
            self,
            bank=found.bank,
            threshold=found.threshold,
            notes=(*lasting(self.notes), *short, *found.notes),
            names=_those(of_each["names"], found.stayed),
            recording=found.heard.recording,
            start=found.heard.start,
            patches=found.heard.patches and PatchBank.fit(*found.heard.patches),
            sessions=_those(of_each["sessions"], found.stayed),
            unsteadiness=found.heard.unsteadiness,
        )

    @property
    def heard(self) -> Heard:
        """Returns the stored windows of the normal sounds; NaN for vectors not in the coreset."""
        vectors = {}
        for view, kept in self.bank.vectors.items():
            vectors[view] = np.full((len(self.recording), *kept.shape[1:]), np.nan, np.float32)
            vectors[view][self.bank.rows[view]] = kept
        patches = None if self.patches is None else (self.patches.vectors, self.patches.recording)
        moved = (self.bank.moved_rows, dict(self.bank.moved))
        if not len(moved[0]):
            moved = (moved[0], {view: of[:0] for view, of in vectors.items()})
        return Heard(vectors, self.recording, self.start, patches, self.unsteadiness, moved)

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
        """Returns the score, p-value, decision and worst second of a waveform.

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
        if not waves:
            return []
        settings = self._at(sample_rate)
        windows, starts = zip(
            *(windows_of(wave, settings, self.heard_rate) for wave in waves), strict=True
        )
        judged, seconds = self.hear(np.concatenate(windows))
        found, first = [], 0
        for wave, start in zip(waves, starts, strict=True):
            own = slice(first, first + len(start))
            of_wave = {judge: scores[own] for judge, scores in judged.items()}
            verdict = self._verdict(of_wave, seconds[own], start, len(wave) / settings.sample_rate)
            flags = sorted(
                set().union(*(defects(window, self.heard_rate) for window in windows[len(found)]))
            )
            notes = [settings.short(len(wave)), *(f"{name}: {SAID[name]}" for name in flags)]
            found.append(verdict.noted(*notes, self.low_rate(settings.sample_rate)))
            first += len(start)
        return found

    def _at(self, sample_rate: int | None) -> Settings:
        """Returns the settings for sound of this rate."""
        own = self.settings
        return own if sample_rate is None else dataclasses.replace(own, sample_rate=sample_rate)

    def _verdict(self, judged, seconds, starts, length: float) -> Verdict:
        """Returns the verdict from the scores of one sound's windows, and its length in seconds."""
        scores = fused(judged)
        worst = int(scores.argmax())
        # A sound shorter than a window is repeated in it, so the moment is mapped back into the
        # sound.
        begin = min((starts[worst] + self._oddest(seconds[worst])) % length, max(length - 1, 0))
        end = min(begin + 1, length)
        score = float(scores.mean())
        return Verdict(
            score,
            self.threshold,
            self.p_value(score),
            score > self.threshold,
            (round(float(begin), 3), round(float(end), 3)),
            max(judged, key=lambda judge: judged[judge][worst]).partition("/")[0],
            scores,
        )

    def explain(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> HeatMap:
        """Returns where in time and frequency the worst window of a waveform is anomalous.

        The arguments are those of `score`.

        Raises:
            InputError: as for `examine`; or the detector is of an earlier version, which kept no
                patches.
        """
        if self.patches is None:
            raise InputError(
                "this detector was fitted by an earlier version, which kept no patches: fit it "
                "again"
            )
        settings = self._at(sample_rate)
        windows, starts = windows_of(wave, settings, self.heard_rate)
        windows = self._as_fitted(windows)
        vectors, _ = views(self.pipeline, windows)
        worst = int(fused(self.bank.score(vectors)).argmax())
        heat = odd_cells(self.pipeline, self.settings.tokens, self.patches, windows[worst])
        front_end = grid(self.pipeline, self.settings.tokens).front_end
        view = "encoder" if "encoder" in vectors else "level"
        own, normal = (
            flat.reshape(len(flat), -1)
            for flat in (vectors[view][[worst]], self.bank.vectors[view])
        )
        row = self.bank.rows[view][
            nearest(own, normal, 1, self.bank.scoring[view].distance)[1][0, 0]
        ]
        name, start = self.names[self.recording[row]], float(self.start[row])
        return HeatMap(heat, float(starts[worst]), windows[worst], front_end, name, start)

    def hear(
        self, windows: Float[np.ndarray, "b s"]
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"]]:
        """Returns ({judge: scores "b"}, log energies of each second "b m f") of windows "b s".

        The windows have the sampling rate `heard_rate`.
        """
        vectors, seconds = views(self.pipeline, self._as_fitted(windows))
        return self.bank.score(vectors), seconds

    def _as_fitted(self, windows: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b s"]:
        """Returns the windows without the spectral colour of the present session."""
        if not self.colour:
            return windows
        hz = np.fft.rfftfreq(windows.shape[1], 1 / self.heard_rate)
        decibels = -np.asarray(self.colour) @ smooth_colours(hz)
        return np.stack([coloured(window, decibels) for window in windows])

    def p_value(self, score: float) -> float:
        """Returns the share of normal windows, this one included, that score at least as high."""
        return float(p_values(np.array([score]), self.bank.normal)[0])

    def low_rate(self, rate: int) -> str:
        """Returns a note if `rate` is lower than that of the normal sounds, else ""."""
        known = self.recorded_rate
        return f"rate: {another_rate(rate, known).message}" if rate < known else ""

    @property
    def recorded_rate(self) -> int:
        """Returns the sampling rate of the sound that can be compared, in Hz.

        It is lower than `heard_rate` if the normal sounds were recorded at a lower rate.
        """
        return min(self.settings.sample_rate, self.heard_rate)

    @property
    def heard_rate(self) -> int:
        """Returns the sampling rate of the windows, in Hz."""
        return rate_of(self.pipeline)

    def _oddest(self, seconds: np.ndarray) -> float:
        """Returns the start, in seconds, of the most anomalous second of a window.

        This is the second whose spectrum is farthest from the usual one, relative to the usual
        variation of frames.
        """
        usual, spread = (self.bank.vectors[view].mean(0) for view in ("level", "fluctuation"))
        oddest = np.square((seconds - usual) / np.maximum(spread, 1e-3)).mean(1).argmax()
        frames = grid(self.pipeline, False).front_end.real_frames(
            round(self.settings.window_seconds * self.heard_rate)
        )
        return second_starts(frames)[oddest] * HOP_MS / 1000

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file with encoder, bank, normalisation, threshold and versions."""
        # The import is local because file.py imports this module.
        from asd_jax.detector.file import save

        save(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Returns the detector that `save` wrote; nothing in the file is ever executed.

        Raises:
            InputError: the file is missing, truncated, altered, of another kind or of a newer
                format.
        """
        # The import is local because file.py imports this module.
        from asd_jax.detector.file import load

        return load(path)


def _those(of_each: Sequence[str], stayed: np.ndarray) -> tuple[str, ...]:
    return tuple(one for one, stays in zip(of_each, stayed, strict=True) if stays)
