"""A detector: what one healthy machine sounds like, and how far from it is too far."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import resample
from asd_jax.data.windows import cut_windows
from asd_jax.detector import heat_map
from asd_jax.detector.heat_map import HeatMap
from asd_jax.detector.views import for_machine, load_pipeline_or_eat, rate_of, scoring_of, views
from asd_jax.errors import InputError
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.conformal import conformal_threshold, p_values
from asd_jax.scoring.normal_bank import FEWEST, FOLDS, NormalBank, coreset, fused
from asd_jax.scoring.patch_bank import Considered, PatchBank, over_cells
from asd_jax.training.weights import BOX, Pipeline
from asd_jax.training.weights import origin as origin_of

LONGEST_WINDOW_S, SHORTEST_WINDOW_S = 10.0, 0.2  # what encoders are trained on; EAT needs 16 frames
FEWEST_OF_A_DOMAIN = 4  # recordings; fewer make no bank of their own
_DUPLICATE = 0.02  # of the usual distance between neighbours: the same sound, perhaps coded anew


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was chosen when a detector was fitted.

    Attributes:
        sample_rate: of the waveforms given to it, in Hz.
        window_seconds: it hears windows of this length; the score of a longer sound is their mean.
        false_alarm_rate: share of normal windows above the threshold.
        tokens: whether `explain` compares the encoder's tokens instead of patches of the filter bank.
    """

    sample_rate: int = 16000
    window_seconds: float = LONGEST_WINDOW_S
    false_alarm_rate: float = 0.05
    tokens: bool = False

    def __post_init__(self):
        if not 1000 <= self.sample_rate <= 768000:
            raise InputError(f"a sampling rate of {self.sample_rate} Hz; expected 1000 to 768000")
        if not SHORTEST_WINDOW_S <= self.window_seconds <= 60:
            raise InputError(f"windows of {self.window_seconds} s; expected {SHORTEST_WINDOW_S} to 60")
        if not 0 < self.false_alarm_rate < 1:
            raise InputError(f"false-alarm rate {self.false_alarm_rate}: must lie between 0 and 1")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a detector says of a sound.

    Attributes:
        score: in standard deviations of normal sounds, the mean over windows.
        threshold: above it the sound is called anomalous.
        p_value: share of normal windows, itself included, with at least this score.
        is_anomaly: the decision.
        worst_seconds: start and end of the oddest second.
        view: what is odd about the worst window: its "level", its "fluctuation", or the "encoder".
        windows: score of each window.
    """

    score: float
    threshold: float
    p_value: float
    is_anomaly: bool
    worst_seconds: tuple[float, float]
    view: str
    windows: np.ndarray


@dataclasses.dataclass(frozen=True)
class Detector:
    """Normal sounds of one machine, heard by the filter bank and an encoder; scores any further sound.

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
        patches: what normal sounds are like at each frequency, for `explain`; None in files of earlier versions.
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
    ) -> "Detector":
        """Recordings of the healthy machine -> detector.

        Args:
            waves: mono float arrays in [-1, 1], of any lengths; each is let go once heard.
            sample_rate: theirs, in Hz.
            names: theirs, for messages.
            domains: "source" or "target" of each, where conditions differ; otherwise the local density of the bank
                does what it can.
            weights: an encoder's weight file ("box": the one that comes with the package), or one that is loaded; None:
                the filter bank alone.
            machine: picks the SimAM mode, where the weights have one per machine.
            window_seconds: what is heard at once; by default the usual length of the recordings, at most 10.
            false_alarm_rate: share of normal windows that may lie above the threshold.
            coreset_size: keep so many of the encoder's vectors; 0: all.
            tokens: whether `explain` shall compare the encoder's tokens, which point worse than filter-bank patches.
            trained: of each recording, whether the encoder was trained on it, so that its score says nothing.
            origin: what is to be remembered of weights that are loaded; of a file, its name and hash are.

        Raises:
            InputError: fewer than three windows in all, waveforms that are not finite or not mono, bad settings.
        """
        if isinstance(weights, str | Path):
            origin, weights = origin_of(weights), load_pipeline_or_eat(weights)
        pipeline = weights if weights is None else for_machine(weights, machine)
        if window_seconds is None:
            waves = list(waves)
            window_seconds = usual_window([len(wave) / sample_rate for wave in waves])
        settings = Settings(sample_rate, float(window_seconds), false_alarm_rate, tokens)
        vectors, recording, start, considered = _hear_all(pipeline, settings, waves)
        count = int(recording.max(initial=-1)) + 1
        names = tuple(f"recording {n}" for n in range(count)) if names is None else tuple(names)
        domain, notes = _domains(domains, recording)
        return cls._fitted(
            pipeline,
            settings,
            vectors,
            names,
            recording,
            start,
            domain,
            notes,
            coreset_size=coreset_size,
            trained=trained,
            origin=origin or {},
            patches=PatchBank.fit(*considered.bands()),
        )

    def update(
        self,
        waves: Iterable[Float[np.ndarray, "s"]],
        *,
        names: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
    ) -> "Detector":
        """Further normal recordings -> a new detector that knows them too; bank and threshold are fitted again.

        Raises:
            InputError: as `fit`; domains given where the detector has none, or the other way round.
        """
        vectors, recording, start, considered = _hear_all(self.pipeline, self.settings, waves)
        count = int(recording.max(initial=-1)) + 1
        more = tuple(f"recording {len(self.names) + n}" for n in range(count)) if names is None else tuple(names)
        pooled = self.bank.domains == ["pooled"]
        if not pooled and (domains is None or set(domains) - {"source", "target"}):
            raise InputError("this detector tells domains apart: say source or target of each recording added")
        added = np.full(len(recording), "pooled") if pooled else np.asarray(domains)[recording]
        old = len(self.recording)
        known, kept = None, None
        everything = {}
        for view, new in vectors.items():
            whole = np.full((old, *new.shape[1:]), np.nan, np.float32)
            whole[self.bank.rows[view]] = self.bank.vectors[view]
            everything[view] = np.concatenate([whole, new])
        patches = None
        if self.patches is not None:
            own, of = considered.bands()
            old_and_new = np.concatenate([self.patches.recording, of + len(self.names)], axis=1)
            patches = PatchBank.fit(np.concatenate([self.patches.vectors, own], axis=1), old_and_new)
        if self.reduced:  # what the coreset left out cannot be scored again: its scores stay, the others' are known too
            pad = np.full((len(recording), len(self.bank.domains)), np.nan)
            known = {judge: np.concatenate([raw, pad]) for judge, raw in self.bank.raw.items()}
            new = old + np.arange(len(recording))
            kept = {view: np.concatenate([rows, new]) for view, rows in self.bank.rows.items()}
        return type(self)._fitted(
            self.pipeline,
            self.settings,
            everything,
            self.names + more,
            np.concatenate([self.recording, recording + len(self.names)]),
            np.concatenate([self.start, start]),
            np.concatenate([self.bank.domain, added]),
            [],
            known=known,
            rows=kept,
            reduced=self.reduced,
            counted=np.concatenate([self.bank.counted, np.ones(len(recording), bool)]),
            origin=self.origin,
            patches=patches,
        )

    @classmethod
    def _fitted(
        cls,
        pipeline,
        settings,
        vectors,
        names,
        recording,
        start,
        domain,
        notes,
        *,
        coreset_size=0,
        trained=None,
        origin,
        known=None,
        rows=None,
        reduced=False,
        counted=None,
        patches,
    ) -> "Detector":
        if len(recording) < FEWEST:
            raise InputError(
                f"{len(recording)} windows of {settings.window_seconds:g} s in {len(names)} normal recordings: at "
                f"least {FEWEST} are needed, 20 or more are better; record longer, or use shorter windows"
            )
        if counted is None:
            counted = ~np.asarray(trained, bool)[recording] if trained is not None else np.ones(len(recording), bool)
        if 0 < coreset_size < len(recording) and "encoder" in vectors:
            everything = np.arange(len(recording))
            rows = {view: everything for view in vectors} | {"encoder": coreset(vectors["encoder"], coreset_size)}
            reduced = True
        group = groups(recording, vectors["level"])
        scoring = scoring_of(pipeline)
        bank = NormalBank.fit(scoring, vectors, domain, group, rows=rows, known=known, counted=counted)
        threshold, weak = conformal_threshold(bank.normal, settings.false_alarm_rate)
        notes = tuple([*notes, weak] if weak else notes)
        return cls(pipeline, bank, settings, threshold, notes, names, recording, start, reduced, origin, patches)

    def score(self, wave: Float[np.ndarray, "s"], sample_rate: int | None = None) -> float:
        """Waveform -> anomaly score, in standard deviations of normal sounds; see `examine` for more.

        Args:
            wave: mono, in [-1, 1], of any length.
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

    def examine_all(self, waves: Sequence[np.ndarray], sample_rate: int | None = None) -> list[Verdict]:
        """Waveforms -> what `examine` says of each; their windows are heard together, spread over the devices.

        Raises:
            InputError: as `examine`.
        """
        if not waves:
            return []
        settings = dataclasses.replace(self.settings, sample_rate=sample_rate or self.settings.sample_rate)
        windows, starts = zip(*(_windows(wave, settings, rate_of(self.pipeline)) for wave in waves), strict=True)
        judged, seconds = self.hear(np.concatenate(windows))
        found, first = [], 0
        for wave, start in zip(waves, starts, strict=True):
            own = slice(first, first + len(start))
            of_wave = {judge: scores[own] for judge, scores in judged.items()}
            found.append(self._verdict(of_wave, seconds[own], start, len(wave) / settings.sample_rate))
            first += len(start)
        return found

    def _verdict(self, judged, seconds, starts, length: float) -> Verdict:
        """What is heard of one sound's windows, and its length in seconds -> verdict."""
        scores = fused(judged)
        worst = int(scores.argmax())
        begin = starts[worst] + self._oddest(seconds[worst])
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
            raise InputError("this detector was fitted by an earlier version, which kept no patches: fit it again")
        settings = dataclasses.replace(self.settings, sample_rate=sample_rate or self.settings.sample_rate)
        windows, starts = _windows(wave, settings, rate_of(self.pipeline))
        vectors, _ = views(self.pipeline, windows)
        worst = int(fused(self.bank.score(vectors)).argmax())
        window, grid = windows[worst : worst + 1], heat_map.grid(self.pipeline, settings.tokens)
        heat = self.patches.heat(heat_map.patches(self.pipeline, settings.tokens, window)[0])
        frames, filters = grid.front_end.real_frames(windows.shape[1]), grid.front_end.bins
        view = "encoder" if "encoder" in vectors else "level"
        own, normal = (flat.reshape(len(flat), -1) for flat in (vectors[view][[worst]], self.bank.vectors[view]))
        row = self.bank.rows[view][nearest(own, normal, 1, self.bank.scoring[view].distance)[1][0, 0]]
        return HeatMap(
            over_cells(heat, (grid.frames, grid.filters), frames, filters),
            float(starts[worst]),
            windows[worst],
            grid.front_end,
            self.names[self.recording[row]],
            float(self.start[row]),
        )

    def hear(self, windows: Float[np.ndarray, "b s"]) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"]]:
        """Windows at the rate that is heard -> ({judge: scores "b"}, log energies of each second)."""
        vectors, seconds = views(self.pipeline, windows)
        return self.bank.score(vectors), seconds

    def p_value(self, score: float) -> float:
        """Share of normal windows, the one asked about included, with at least this score."""
        return float(p_values(np.array([score]), self.bank.normal)[0])

    @property
    def heard_rate(self) -> int:
        """The sampling rate that is heard, in Hz."""
        return rate_of(self.pipeline)

    def _oddest(self, seconds: np.ndarray) -> int:
        """The second whose spectrum is farthest from the usual, for how much frames usually vary."""
        usual, spread = (self.bank.vectors[view].mean(0) for view in ("level", "fluctuation"))
        return int(np.square((seconds - usual) / np.maximum(spread, 1e-3)).mean(1).argmax())

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


def usual_window(seconds: Sequence[float]) -> float:
    """Lengths of recordings -> window: their median, from 0.2 to 10 s."""
    if not len(seconds):
        raise InputError("no normal recordings to learn from")
    return float(np.clip(np.median(seconds), SHORTEST_WINDOW_S, LONGEST_WINDOW_S))


def groups(recording: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The windows that must not vouch for each other: those of one recording, and of copies of it.

    Of fewer than three recordings: ten stretches of each.
    """
    if recording.max() + 1 < FEWEST:
        within = [np.arange((recording == r).sum()) for r in np.unique(recording)]
        stretch = np.concatenate([part * min(FOLDS, len(part)) // max(len(part), 1) for part in within])
        return np.unique(recording * FOLDS + stretch, return_inverse=True)[1]
    group = recording.copy()
    for a, b in copies(recording, level):
        group[group == group[recording == b][0]] = group[recording == a][0]
    return group


def copies(recording: np.ndarray, level: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of recordings, lower number first, with a window that is all but the same."""
    distance, row = nearest(level, level, 1, "euclidean", leave_one_out=True)
    limit = _DUPLICATE * np.median(distance[:, 0])
    close = distance[:, 0] <= max(limit, 1e-6)
    pairs = {tuple(sorted(pair)) for pair in zip(recording[close], recording[row[close, 0]], strict=True)}
    return sorted((int(a), int(b)) for a, b in pairs if a != b)


def _domains(domains: Sequence[str] | None, recording: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The domain of each window, and a note where those given cannot be used."""
    pooled = np.full(len(recording), "pooled")
    if domains is None or set(domains) <= {"unknown"} or len(set(domains)) == 1:
        return pooled, []
    if unknown := set(domains) - {"source", "target"}:
        raise InputError(f"domain {sorted(unknown)[0]!r} beside others: every recording must be source or target")
    for name in ("source", "target"):
        if (count := list(domains).count(name)) < FEWEST_OF_A_DOMAIN:
            return pooled, [f"{count} {name} recordings make no bank of their own: domains are not told apart"]
    return np.asarray(domains)[recording], []


def _hear_all(pipeline, settings, waves):
    """Recordings -> ({view: vectors "n ..."}, recording of each window, its start in seconds, a sample of patches)."""
    parts, recording, start, considered = [], [], [], Considered()
    for number, wave in enumerate(waves):
        windows, starts = _windows(wave, settings, rate_of(pipeline))
        parts.append(views(pipeline, windows)[0])
        considered.add(heat_map.patches(pipeline, settings.tokens, windows), number)
        recording.append(np.full(len(starts), number))
        start.append(starts)
    if not parts:
        raise InputError("no normal recordings to learn from")
    vectors = {view: np.concatenate([part[view] for part in parts]) for view in parts[0]}
    return vectors, np.concatenate(recording), np.concatenate(start), considered


def _windows(wave: np.ndarray, settings: Settings, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Waveform -> windows "b s" at the rate that is heard, and where each starts in seconds."""
    wave = np.asarray(wave)
    if wave.ndim != 1 or not np.issubdtype(wave.dtype, np.floating):
        raise InputError(f"a waveform of {wave.dtype} {wave.shape}; expected one channel of floats in [-1, 1]")
    if len(wave) * 1000 < 25 * settings.sample_rate:
        raise InputError(f"a waveform of {len(wave)} samples is shorter than one frame of 25 ms")
    if not np.isfinite(wave).all():
        raise InputError("a waveform with NaN or infinity among the samples")
    wave = resample(wave.astype(np.float32, copy=False), settings.sample_rate, rate).clip(-1, 1)
    samples = round(settings.window_seconds * rate)
    windows, starts = cut_windows(wave, samples, samples)
    return windows, starts / rate
