"""A detector: what one healthy machine sounds like, and how far from it is too far."""

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
from asd_jax.training.weights import origin as origin_of


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a detector says of a sound.

    Attributes:
        score: in standard deviations of normal sounds of a new session, the mean over windows.
        threshold: above it the sound is called anomalous.
        p_value: share of normal windows, itself included, with at least this score.
        is_anomaly: the decision.
        worst_seconds: start and end of the oddest second.
        view: what is odd about the worst window: its "level", its "fluctuation", or the "encoder".
        windows: score of each window.
        note: what keeps the score from being comparable, if anything does: "short: ...", "silence:
            ...", "clipping: ...", "dropout: ...", "rate: ...", joined by "; ".
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
        """The same with further notes, those that are not empty."""
        return dataclasses.replace(self, note="; ".join(filter(None, (self.note, *notes))))


@dataclasses.dataclass(frozen=True)
class Detector:
    """Normal sounds of one machine, heard by the filter bank and an encoder; scores any further
    sound.

        detector = Detector.fit(waves, sample_rate=16000)
        detector.score(wave), detector.is_anomaly(wave)

    Attributes:
        pipeline: the encoder; None for the filter bank alone.
        bank: what it remembers.
        settings: what was chosen.
        threshold: above it a sound is called anomalous.
        notes: what the user should know about the fit.
        names: of the normal recordings.
        recording: "n", the recording of each normal window.
        start: "n", where each begins, in seconds.
        reduced: whether a coreset was kept of the encoder's vectors.
        origin: where the encoder's weights came from.
        patches: what normal sounds are like at each frequency, for `explain`; None in files of
            earlier versions.
        sessions: of the normal recordings; "" where nobody said.
        unsteadiness: "n", by how much the halves of each normal window differ.
        colour: in dB, how the present session's sound differs from the normal sounds' (see
            `adapt`).
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
        """Recordings of the healthy machine -> detector.

        Args:
            waves: mono float arrays in [-1, 1]; each is let go once heard. Much shorter ones than
                the window are noted.
            sample_rate: theirs, in Hz.
            names: theirs, for messages.
            domains: "source" or "target" of each, where conditions differ; otherwise the local
                density of the bank does what it can.
            weights: an encoder's weight file ("box": the one that comes with the package), or one
                that is loaded; None: the filter bank alone.
            machine: picks the SimAM mode, where the weights have one per machine.
            window_seconds: what is heard at once; by default the usual length of the recordings, at
                most 10.
            false_alarm_rate: share of normal windows, of a session that was not heard, that may lie
                above the threshold.
            coreset_size: keep so many of the encoder's vectors; 0: all.
            tokens: whether `explain` shall compare the encoder's tokens, which point worse than
                filter-bank patches.
            trained: of each recording, whether the encoder was trained on it, so that its score
                says nothing.
            origin: what is to be remembered of weights that are loaded; of a file, its name and
                hash are.
            sessions: the day, or the setting up of the microphone, that each recording belongs to;
                by default stretches of like sound are found.
            keep_odd: learn also from recordings that are far from all others.

        Raises:
            InputError: fewer than three windows in all, or recordings that are not copies,
                waveforms that are not finite or not mono, bad settings, names, domains or trained
                of fewer recordings or of more.
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
            waves = list(waves)
            usual = usual_window([np.size(wave) / settings.sample_rate for wave in waves])
            settings = dataclasses.replace(settings, window_seconds=usual)
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
        """Further normal recordings -> a new detector that knows them too; bank and threshold are
        fitted again.

        Raises:
            InputError: as `fit`; recordings without a domain, for a detector that tells domains
                apart.
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
        # what the coreset left out cannot be scored again: its scores stay, the others' are known
        # too
        if self.reduced:
            pad = np.full((new, len(self.bank.domains)), np.nan)
            known = {
                kind: {judge: np.concatenate([raw, pad]) for judge, raw in of.items()}
                for kind, of in (("raw", self.bank.raw), ("new", self.bank.new))
            }
            place = len(self.recording) + np.arange(new)
            rows = {view: np.concatenate([kept, place]) for view, kept in self.bank.rows.items()}
        heard = self.heard.with_more(more, old)
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
        """What it remembers of its normal sounds; NaN where a coreset left a vector out."""
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
        """Waveform -> anomaly score, in standard deviations of normal sounds; see `examine` for
        more.

        Args:
            wave: mono, in [-1, 1], of the window's length or longer; a shorter one is repeated to
                fill it, and its score is not comparable (see the verdict's note).
            sample_rate: in Hz; by default the one of the fit.
        """
        return self.examine(wave, sample_rate).score

    def is_anomaly(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> bool:
        """Whether the score lies above the threshold; arguments as `score`."""
        return self.examine(wave, sample_rate).is_anomaly

    def examine(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> Verdict:
        """Waveform -> score, p-value, decision, where it is worst; arguments as `score`.

        Raises:
            InputError: not a mono float waveform, not finite, empty.
        """
        return self.examine_all([wave], sample_rate)[0]

    def examine_all(
        self, waves: Sequence[np.ndarray], sample_rate: int | None = None
    ) -> list[Verdict]:
        """Waveforms -> what `examine` says of each; their windows are heard together, spread over
        the devices.

        Raises:
            InputError: as `examine`.
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
        """The settings for sound of this rate."""
        own = self.settings
        return own if sample_rate is None else dataclasses.replace(own, sample_rate=sample_rate)

    def _verdict(self, judged, seconds, starts, length: float) -> Verdict:
        """What is heard of one sound's windows, and its length in seconds -> verdict."""
        scores = fused(judged)
        worst = int(scores.argmax())
        # A sound shorter than a window is repeated in it: the moment is one of its own.
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
        """Waveform -> where in time and frequency its worst window is odd; arguments as `score`.

        Raises:
            InputError: as `examine`; a detector of an earlier version, which keeps no patches.
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
        """Windows at the rate that is heard -> ({judge: scores "b"}, log energies of each
        second).
        """
        vectors, seconds = views(self.pipeline, self._as_fitted(windows))
        return self.bank.score(vectors), seconds

    def _as_fitted(self, windows: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b s"]:
        """Windows without the colour that is the present session's own."""
        if not self.colour:
            return windows
        hz = np.fft.rfftfreq(windows.shape[1], 1 / self.heard_rate)
        decibels = -np.asarray(self.colour) @ smooth_colours(hz)
        return np.stack([coloured(window, decibels) for window in windows])

    def p_value(self, score: float) -> float:
        """Share of normal windows, the one asked about included, with at least this score."""
        return float(p_values(np.array([score]), self.bank.normal)[0])

    def low_rate(self, rate: int) -> str:
        """What is to be noted of sound that was recorded at so many Hz, if that is too few for the
        normal sounds'.
        """
        known = self.recorded_rate
        return f"rate: {another_rate(rate, known).message}" if rate < known else ""

    @property
    def recorded_rate(self) -> int:
        """The sampling rate of what it can compare, in Hz: lower than what is heard if the normal
        sounds' was.
        """
        return min(self.settings.sample_rate, self.heard_rate)

    @property
    def heard_rate(self) -> int:
        """The sampling rate that is heard, in Hz."""
        return rate_of(self.pipeline)

    def _oddest(self, seconds: np.ndarray) -> float:
        """Where in a window the second begins whose spectrum is farthest from the usual, for how
        much frames vary.
        """
        usual, spread = (self.bank.vectors[view].mean(0) for view in ("level", "fluctuation"))
        oddest = np.square((seconds - usual) / np.maximum(spread, 1e-3)).mean(1).argmax()
        frames = grid(self.pipeline, False).front_end.real_frames(
            round(self.settings.window_seconds * self.heard_rate)
        )
        return second_starts(frames)[oddest] * HOP_MS / 1000

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file: encoder, bank, normalisation, threshold, versions."""
        from asd_jax.detector.file import save

        save(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Reads what `save` wrote; nothing in the file is ever executed.

        Raises:
            InputError: missing, truncated, altered, of another kind or a newer format.
        """
        from asd_jax.detector.file import load

        return load(path)


def _those(of_each: Sequence[str], stayed: np.ndarray) -> tuple[str, ...]:
    return tuple(one for one, stays in zip(of_each, stayed, strict=True) if stays)
