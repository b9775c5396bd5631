"""Stores several views of a machine's normal sounds and scores further sounds against them.

The scores of all views are fused into one. bank_fitting.py makes a bank of normal sounds.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import fit_scorer, scorers_of
from asd_jax.scoring.standardization import Standardization, scale_of, statistics_of

# Smallest number of windows, recordings or sessions that can be compared with each other.
FEWEST_TO_COMPARE = 3
LEAST_RANGE = 1e-9  # smallest range of normal scores over the largest; anything less is rounding


@dataclasses.dataclass(frozen=True)
class NormalBank:
    """Normal sounds in several views, with scores of how much a further sound differs from them.

    A view is one kind of vector, scored by one or more back ends. Each pair of view and back end is
    a scorer. The scores of a scorer are standardised by robust statistics of its scores of the
    normal sounds themselves. Each of those scores is computed with a bank, a preparation and a fit
    that did not use the sound's recording, so no anomalous recording among them can hide itself.
    `fused` combines all scorers into one score. No anomalies are needed to weight them.

    How normal sounds of a *new* session score is estimated separately, by leaving out each session
    as a whole. If fewer than three sessions can be left out, simulated recordings of another day
    stand for new sessions. They also belong to the sounds that are compared with.

    Attributes:
        scoring: {view: its back ends, joined by "+"}.
        vectors: {view: "r ..."}, float32; a coreset may keep only some of the rows.
        rows: {view: "r"}, the window of each vector.
        windows: the normal windows.
        self_scores: scores of the windows, each against a bank without its recording.
        new_session_scores: scores of the windows as windows of a new session.
        simulated: windows as they might sound in another session.
        voting: the scorers whose scores are used.
        on_trial: views that do not learn from simulated windows, and vote only if they recognise
            new sessions as well as the other views do.
        reserved: views whose scores count from one standard deviation above the usual one on. Their
            chance variation would hide weak faults that only other views see.
        named: whether the sessions were recorded as such. Otherwise they are stretches of similar
            sound, often operating modes, of which simulated windows say nothing.
    """

    scoring: Mapping[str, Scoring]
    vectors: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    windows: NormalWindows
    self_scores: SelfScores
    new_session_scores: SelfScores
    simulated: SimulatedWindows = dataclasses.field(default_factory=SimulatedWindows)
    voting: tuple[str, ...] = ()
    on_trial: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    named: bool = False

    def __getstate__(self) -> dict[str, object]:
        """Returns what pickle and copy keep: the fields, without the cached functions."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def check(self) -> None:
        """Raises InputError if sounds cannot be compared with this bank, e.g. one from a file.

        Raises:
            InputError: fewer than 3 windows count, a domain has fewer than 3 recordings, or all
                normal sounds score the same, so that other scores cannot be judged.
        """
        if (count := self.self_scores.of.sum()) < FEWEST_TO_COMPARE:
            raise InputError(f"{count} normal sounds that count: fewer than {FEWEST_TO_COMPARE}")
        self.check_recordings()
        domain = self.windows.domain[self.self_scores.of]
        for scorer, scores in self.self_scores.values.items():
            own = [scores[domain == name, n] for n, name in enumerate(self.domains)]
            # One bank with different scores is enough to judge by.
            if not any(len(of) and np.ptp(of) > LEAST_RANGE * np.abs(of).max() for of in own):
                raise InputError(f"the scores that {scorer} gives normal sounds are all equal")

    def check_recordings(self) -> None:
        """Raises InputError if the bank of a domain has fewer than 3 recordings."""
        for view, name in itertools.product(self.scoring, self.domains):
            own = self.windows[self.rows[view]]
            if (count := len(np.unique(own.group[own.domain == name]))) < FEWEST_TO_COMPARE:
                raise InputError(
                    f"{count} recordings in the bank of {name} sounds ({view}), where copies, and "
                    f"silent ones, count as one: at least {FEWEST_TO_COMPARE} are needed to "
                    "compare; record more, or keep a larger coreset"
                )

    @property
    def domains(self) -> list[str]:
        """Returns the names of the banks: source and target, or one of the three domains."""
        return self.windows.domains

    @functools.cached_property
    def scorers(self) -> dict[str, tuple[str, Scoring]]:
        """Returns {"view/back_end": (view, its scoring with that back end alone)}."""
        return scorers_of(self.scoring)

    @functools.cached_property
    def by_sessions(self) -> dict[str, bool]:
        """Returns {bank: whether at least three of its sessions can be left out}.

        If so, they show how a new session scores.
        """
        separable = self.windows.separable_sessions
        return {name: len(separable(name)) >= FEWEST_TO_COMPARE for name in self.domains}

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Returns the fused scores of the normal sounds, each scored as if its session were new."""
        values = self.new_session_scores.values
        return fused(self.standardization({one: values[one] for one in self.voting}))

    @functools.cached_property
    def normal_session(self) -> np.ndarray:
        """Returns the session of each score in `normal`.

        It is the recording if simulated windows stand for sessions.
        """
        windows = self.windows
        known = self.of_compared_sessions
        # Recordings that stand for sessions are numbered after the real sessions.
        session = np.where(known, windows.session, windows.session.max() + 1 + windows.group)
        return session[self.new_session_scores.of]

    @functools.cached_property
    def fused_self_scores(self) -> np.ndarray:
        """Returns the fused self-scores, on the scale of `score`."""
        values = self.self_scores.values
        return fused(self.standardization({one: values[one] for one in self.voting}))

    @functools.cached_property
    def deviations(self) -> np.ndarray:
        """Returns the fused self-scores in robust standard deviations of the self-scores."""
        values = {one: self.self_scores.values[one] for one in self.voting}
        own = {one: self.own_statistics[one] for one in self.voting}
        of_each = Standardization(self.domains, own, dict.fromkeys(self.domains, 1.0))
        return fused(
            {
                one: np.min([of_each.one(one, d, of[:, n]) for n, d in enumerate(self.domains)], 0)
                for one, of in values.items()
            }
        )

    def score(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {scorer: scores "n"} for {view: vectors "n ..."}; higher is more anomalous.

        The scores are in standard deviations of normal sounds.
        """
        return self.standardization(
            {one: self._fitted[one](vectors[self.scorers[one][0]]) for one in self.voting}
        )

    def training(self, view: str, stay: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the vectors with which the scorers of a view compare, and their domains.

        `stay` is a mask "n" of the normal windows to use; None uses all. A sound is not anomalous
        because the microphone stands elsewhere, so simulated windows are included: all of them
        where they stand for sessions, and one for each window beside recorded sessions.
        """
        vectors = self.vectors[view]
        of = self.rows[view]
        if len(self.simulated) and view not in self.on_trial:
            rows = self.simulated.rows
            # Beside recorded sessions that are compared, only the first copy of a window counts.
            used = ~self.of_compared_sessions[rows]
            used[self.simulated.first] |= self.named
            vectors = np.concatenate([vectors, self.simulated.vectors[view][used]])
            of = np.concatenate([of, rows[used]])
        if stay is not None:
            vectors = vectors[stay[of]]
            of = of[stay[of]]
        return vectors, self.windows.domain[of]

    @functools.cached_property
    def standardization(self) -> Standardization:
        """Returns the statistics that put all scorers and domains on one scale.

        They are computed from sounds of a known session if sessions can be compared, and otherwise
        from the simulated windows: a scorer that reacts mainly to the position of the microphone
        then gets a large deviation.
        """
        scores = {
            name: self.self_scores if self.by_sessions[name] else self.new_session_scores
            for name in self.domains
        }
        statistics = {one: statistics_of(one, self.windows, scores) for one in self.scorers}
        for one, (view, _) in self.scorers.items():
            if view in self.reserved:
                of = statistics[one]
                # One deviation more is the zero of a reserved view.
                statistics[one] = {bank: (usual + std, std) for bank, (usual, std) in of.items()}
        # The scale is a ratio of fused scores, which must be standardised first.
        plain = Standardization(self.domains, statistics, dict.fromkeys(self.domains, 1.0))
        windows = self.windows[self.new_session_scores.of]
        standardized = {}
        for n, name in enumerate(self.domains):
            own = windows.domain == name
            values = self.new_session_scores.values
            of_each = {one: plain.one(one, name, values[one][own, n]) for one in self.voting}
            standardized[name] = fused(of_each)
        scale = scale_of(windows, standardized, self.by_sessions)
        return dataclasses.replace(plain, scale=scale)

    @functools.cached_property
    def own_statistics(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Returns {scorer: {bank: (usual score, deviation) of the self-scores}}."""
        scores = dict.fromkeys(self.domains, self.self_scores)
        return {one: statistics_of(one, self.windows, scores) for one in self.scorers}

    @functools.cached_property
    def of_compared_sessions(self) -> np.ndarray:
        """Returns a mask "n" of the windows in whose domain sessions can be compared."""
        return np.array([self.by_sessions[name] for name in self.windows.domain], bool)

    @functools.cached_property
    def _fitted(self):
        return {
            one: fit_scorer(scoring, *self.training(view), self.domains)
            for one, (view, scoring) in self.scorers.items()
        }
