"""What a machine sounds like when it is well: several views of its normal sounds, fused to one
score.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fitted import Fitted
from asd_jax.scoring.new_session import (
    limit_of_few,
    spread_of_few,
    usual_and_spread,
    weighted_quantile,
)
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation

FOLDS = 10  # for self-scores
FEWEST = 3  # normal sounds that can be compared with each other at all
LEAST_SPREAD = 1e-9  # of normal scores, over the largest; what is less is rounding
DOMAINS = ("pooled", "source", "target")
POWER = 3  # of the mean over judges; 2 to infinity rank the recordings of four machines alike
UNSURE = 1.25  # a threshold of moved copies is raised by this: how far they move is a guess
_BORROWED = 5  # recordings: what the spread of both domains weighs beside one's own
_REFERENCE = 0.05  # the false-alarm rate at which the scales of two domains are made equal
_AXES = ("clip", "embedding")  # with bands too: only layers would count


@dataclasses.dataclass(frozen=True)
class NormalBank:
    """Normal sounds seen by several views, and how odd a further sound is beside them.

    A view is one kind of vector, judged by one back end or more. A judge's score is standardised
    by robust statistics of the scores of the normal sounds themselves, each compared with a bank,
    a preparation and a fit that saw nothing of its recording: no odd recording among them can
    hide itself. `fused` makes one score of all judges. No anomaly is needed to weigh them.

    How normal sounds of a *new* session score is another question: a session is left out whole;
    where fewer than three can be left out, moved copies of the sounds stand for new sessions.

    Attributes:
        scoring: {view: its back ends, joined by "+"}.
        vectors: {view: "r ..."}, float32; a coreset may keep some rows only.
        rows: {view: "r"}, which of the n normal sounds they are.
        domain: "n", "source" or "target", or all "pooled".
        group: "n", the recording of each; sounds of one recording never vouch for each other.
        raw: {judge: "n d"}, self-scores against each domain's bank; NaN where a sound does not
            count.
        session: "n", the session of each.
        new: {judge: "n d"}, the same as sounds of a new session; NaN where they are no evidence.
        moved: {view: "m ..."}, vectors of moved copies.
        moved_rows: "m", which of the n normal sounds they are copies of.
        voting: the judges that are heard.
        on_trial: views that learn nothing from moved copies, and vote only if they know new
            sessions as well as others do.
    """

    scoring: Mapping[str, Scoring]
    vectors: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    domain: np.ndarray
    group: np.ndarray
    raw: Mapping[str, np.ndarray]
    session: np.ndarray
    new: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    moved: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    moved_rows: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    voting: tuple[str, ...] = ()
    on_trial: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        scoring: Mapping[str, Scoring],
        vectors: Mapping[str, np.ndarray],
        domain: np.ndarray,
        group: np.ndarray,
        *,
        rows: Mapping[str, np.ndarray] | None = None,
        known: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        counted: np.ndarray | None = None,
        session: np.ndarray | None = None,
        moved: tuple[np.ndarray, Mapping[str, np.ndarray]] | None = None,
        on_trial: Sequence[str] = (),
    ) -> "NormalBank":
        """Normal sounds -> bank with their self-scores.

        Args:
            scoring: {view: its back ends}.
            vectors: {view: "n ..."}.
            domain: see above.
            group: see above.
            rows: {view: the sounds whose vectors are kept} where a coreset was chosen; all
                otherwise.
            known: {"raw" or "new": self-scores} that need not be computed, NaN where they must.
            counted: sounds whose self-scores may be trusted; an encoder has not been trained on
                them.
            session: see above; by default every recording is one.
            moved: which sounds have moved copies "m", and {view: their vectors "m ..."}.
            on_trial: views that are heard only if they know the normal sounds of new sessions at
                least as well as one of the others does.

        Raises:
            InputError: fewer than 3 sounds that count, a bank of fewer than 3 recordings.
        """
        everything = np.arange(len(domain))
        rows = {view: everything for view in scoring} if rows is None else rows
        counted = np.ones(len(domain), bool) if counted is None else counted
        if counted.sum() < FEWEST:
            raise InputError(
                f"{counted.sum()} normal sounds to learn from: at least {FEWEST} are needed, 20 "
                "or more are better"
            )
        moved_rows, copies = (np.empty(0, np.int64), {}) if moved is None else moved
        kept = {view: vectors[view][rows[view]] for view in scoring}
        session = group if session is None else session
        bank = cls(scoring, kept, rows, domain, group, {}, session, {}, copies, moved_rows)
        bank = dataclasses.replace(bank, on_trial=tuple(on_trial))
        bank.check_recordings()
        raw = {}
        for judge, (view, _) in bank.judges.items():
            old = bank._unknown() if known is None else known["raw"][judge]
            raw[judge] = bank.self_scores(judge, vectors[view], old, counted & np.isnan(old).any(1))
        bank = dataclasses.replace(bank, raw=raw)
        new = {}
        for judge, (view, _) in bank.judges.items():
            old = None if known is None else known["new"][judge]
            new[judge] = bank._as_new_session(judge, vectors[view], old)
        bank = dataclasses.replace(bank, new=new)
        return dataclasses.replace(bank, voting=bank._heard())

    def check(self) -> None:
        """None, if sounds can be compared with this bank, wherever it comes from.

        Raises:
            InputError: fewer than 3 sounds that count, or recordings of a domain; normal sounds
                that all score the same, so that nothing tells how odd another score is.
        """
        if self.counted.sum() < FEWEST:
            raise InputError(f"{self.counted.sum()} normal sounds that count: fewer than {FEWEST}")
        self.check_recordings()
        for judge, scores in self.raw.items():
            own = [
                scores[self.counted & (self.domain == name), number]
                for number, name in enumerate(self.domains)
            ]
            if not any(len(of) and np.ptp(of) > LEAST_SPREAD * np.abs(of).max() for of in own):
                raise InputError(f"the scores that {judge} gives normal sounds are all equal")

    def check_recordings(self) -> None:
        """Raises InputError for a bank of fewer than 3 recordings."""
        for view, name in itertools.product(self.scoring, self.domains):
            rows = self.rows[view]
            if (count := len(np.unique(self.group[rows][self.domain[rows] == name]))) < FEWEST:
                raise InputError(
                    f"{count} recordings in the bank of {name} sounds ({view}), where copies, and "
                    f"silent ones, count as one: at least {FEWEST} are needed to compare; record "
                    "more, or keep a larger coreset"
                )

    @property
    def domains(self) -> list[str]:
        """The banks: source and target, or one."""
        return [name for name in DOMAINS if name in self.domain]

    @functools.cached_property
    def judges(self) -> dict[str, tuple[str, Scoring]]:
        """{"view/back_end": (view, its scoring by that back end alone)}."""
        return judges_of(self.scoring)

    @functools.cached_property
    def counted(self) -> np.ndarray:
        """Which of the normal sounds have self-scores "n"."""
        return ~np.any(np.isnan(next(iter(self.raw.values()))), axis=1)

    @functools.cached_property
    def evidence(self) -> np.ndarray:
        """Which of the normal sounds say how a new session scores "n"."""
        return ~np.any(np.isnan(next(iter(self.new.values()))), axis=1)

    @functools.cached_property
    def by_sessions(self) -> dict[str, bool]:
        """{bank: whether three sessions or more were left out to learn how a new one scores}."""
        return {name: len(self.left_out(name)) >= FEWEST for name in self.domains}

    def left_out(self, name: str) -> np.ndarray:
        """The sessions of a domain that hold at most half of its sounds: without one, enough is
        left to compare with.
        """
        numbers, counts = np.unique(self.session[self.domain == name], return_counts=True)
        return numbers[2 * counts <= counts.sum()]

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Fused scores of normal sounds as sounds of a new session."""
        return fused(self._standardized({j: self.new[j][self.evidence] for j in self.voting}))

    @functools.cached_property
    def normal_session(self) -> np.ndarray:
        """The session of each of `normal`; its recording where moved copies stand for sessions."""
        moved = ~np.array([self.by_sessions[name] for name in self.domain])
        session = np.where(moved, self.session.max() + 1 + self.group, self.session)
        return session[self.evidence]

    @functools.cached_property
    def familiar(self) -> np.ndarray:
        """Fused self-scores of the sounds that count, as sounds of their own session, in robust
        standard deviations.
        """
        raw = {judge: self.raw[judge][self.counted] for judge in self.voting}
        found = {}
        for judge, values in raw.items():
            own = self._statistics_of(self.raw[judge])
            of = [
                (values[:, n] - own[name][0]) / own[name][1] for n, name in enumerate(self.domains)
            ]
            found[judge] = np.min(of, axis=0)
        return fused(found)

    @functools.cached_property
    def familiar_scores(self) -> np.ndarray:
        """Fused scores of the sounds that count, as sounds of their own session, on the scale of
        `score`.
        """
        return fused(self._standardized({j: self.raw[j][self.counted] for j in self.voting}))

    def score(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{view: vectors "n ..."} -> {judge: scores "n"} in standard deviations of normal sounds;
        higher is odder.
        """
        return self._standardized(
            {judge: self._fitted[judge](vectors[self.judges[judge][0]]) for judge in self.voting}
        )

    def self_scores(
        self, judge: str, vectors: np.ndarray, raw: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Fills the wanted rows of `raw` with scores by banks without any sound of their
        recordings.
        """
        return self._without(judge, folds(self.domain, self.group), vectors, raw, wanted)

    def _without(self, judge, fold, vectors, scores, wanted):
        """Fills the wanted rows of scores "n d" of vectors "n ..." with those by banks without
        their folds.
        """
        view, scoring = self.judges[judge]
        scores = scores.copy()
        for left_out in np.unique(fold[wanted]):
            out = (fold == left_out) & wanted
            bank = self.training(view, fold != left_out)
            scores[out] = _scorer(scoring, *bank, self.domains)(vectors[out])
        return scores

    def training(self, view: str, stay: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Which of the normal sounds stay "n" -> vectors that a view's judges compare with, and
        their domains.

        Moved copies are among them where they stand for sessions: how far a microphone moves is
        normal, and what is left when that is explained away is not.
        """
        vectors, of = self.vectors[view], self.rows[view]
        if len(self.moved_rows) and view not in self.on_trial:
            stands = [not self.by_sessions[name] for name in self.domain[self.moved_rows]]
            vectors = np.concatenate([vectors, self.moved[view][stands]])
            of = np.concatenate([of, self.moved_rows[stands]])
        if stay is not None:
            vectors, of = vectors[stay[of]], of[stay[of]]
        return vectors, self.domain[of]

    def _unknown(self) -> np.ndarray:
        return np.full((len(self.domain), len(self.domains)), np.nan)

    def _as_new_session(self, judge, vectors, known) -> np.ndarray:
        """Scores "n d" of the sounds as sounds of a new session."""
        if np.array_equal(self.session, self.group) and all(self.by_sessions.values()):
            return self.raw[judge]
        scores = self._unknown() if known is None else known
        wanted = self.counted & np.isnan(scores).any(1)
        sessions = np.zeros(len(self.domain), bool)
        for name in self.domains:
            if self.by_sessions[name]:
                sessions |= (self.domain == name) & np.isin(self.session, self.left_out(name))
            elif not len(self.moved_rows):
                scores = np.where((self.domain == name)[:, None], self.raw[judge], scores)
        fold = folds(self.domain, self.session)
        scores = self._without(judge, fold, vectors, scores, wanted & sessions)
        if not len(self.moved_rows):
            return scores
        view = self.judges[judge][0]
        copies = np.full((len(self.domain), *self.moved[view].shape[1:]), np.nan, np.float32)
        copies[self.moved_rows] = self.moved[view]
        by_moving = ~np.array([self.by_sessions[name] for name in self.domain])
        by_moving &= np.isin(np.arange(len(self.domain)), self.moved_rows) & wanted
        return self._without(judge, folds(self.domain, self.group), copies, scores, by_moving)

    def _heard(self) -> tuple[str, ...]:
        """The judges but for those of views on trial to which every new session sounds odder than
        to any other judge.
        """
        rows = self.evidence & [self.by_sessions[name] for name in self.domain]
        trusted = [j for j, (view, _) in self.judges.items() if view not in self.on_trial]
        if not rows.any() or not trusted or np.array_equal(self.session, self.group):
            return tuple(self.judges)
        usual = {}
        for judge in self.judges:
            own = np.array([self.domains.index(name) for name in self.domain[rows]])
            scores = self.new[judge][rows][np.arange(rows.sum()), own]
            of = self._statistics_of(self.raw[judge])
            centre, spread = np.array([of[name] for name in self.domain[rows]]).T
            usual[judge] = float(np.median((scores - centre) / spread))
        limit = max(usual[judge] for judge in trusted)
        return tuple(j for j in self.judges if j in trusted or usual[j] <= limit)

    @functools.cached_property
    def _fitted(self):
        return {
            judge: _scorer(scoring, *self.training(view), self.domains)
            for judge, (view, scoring) in self.judges.items()
        }

    @functools.cached_property
    def statistics(self) -> dict[str, dict[str, tuple[float, float]]]:
        """{judge: {bank: usual score of its own domain's normal sounds and its spread}}.

        Of sounds of a known session where sessions can be compared, else of the moved copies: a
        judge that hears nothing but the place of the microphone gets a wide spread.
        """
        return {
            judge: self._statistics_of(self.raw[judge], self.new.get(judge)) for judge in self.raw
        }

    def _statistics_of(self, raw, new=None) -> dict[str, tuple[float, float]]:
        found, counts = {}, {}
        for n, name in enumerate(self.domains):
            values = raw if new is None or self.by_sessions[name] else new
            own = (self.domain == name) & ~np.isnan(values[:, n])
            found[name], counts[name] = (
                usual_and_spread(values[own, n]),
                len(np.unique(self.group[own])),
            )
        return {
            name: (usual, self._borrowed(name, found, counts) * spread_of_few(counts[name]))
            for name, (usual, _) in found.items()
        }

    def _borrowed(self, name, found, counts) -> float:
        """The spread of a domain's scores; of few recordings it leans on that of both domains,
        beside what is usual in each.
        """
        alike = [one for one in found if self.by_sessions[one] == self.by_sessions[name]]
        if len(alike) == 1 or not all(found[one][0] for one in alike):
            return found[name][1]
        square = {one: (found[one][1] / found[one][0]) ** 2 for one in alike}
        both = sum(counts[one] * square[one] for one in alike) / sum(counts[one] for one in alike)
        own = counts[name]
        relative = (own * square[name] + _BORROWED * both) / (own + _BORROWED)
        return float(np.sqrt(relative)) * found[name][0]

    @functools.cached_property
    def scale(self) -> dict[str, float]:
        """{bank: what its fused scores are divided by, so that one threshold serves all banks}."""
        if len(self.domains) == 1 or not any(self.by_sessions.values()):
            return dict.fromkeys(self.domains, 1.0)  # the same moves in both: one scale
        limits = {}
        for n, name in enumerate(self.domains):
            own = self.evidence & (self.domain == name)
            scores = {j: self._one(self.new[j][own, n], j, name) for j in self.voting}
            session = (self.session if self.by_sessions[name] else self.group)[own]
            scores = fused(scores)
            limit = weighted_quantile(scores, session, _REFERENCE)
            if self.by_sessions[name]:
                limit = max(limit, limit_of_few(scores, _REFERENCE))
            else:
                limit *= UNSURE
            limits[name] = max(limit, 1.0)
        return {name: limit / min(limits.values()) for name, limit in limits.items()}

    def _one(self, scores, judge, name):
        usual, spread = self.statistics[judge][name]
        return (scores - usual) / spread

    def _standardized(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{judge: scores against each bank "n d"} -> {judge: standardised scores "n"} against the
        bank that finds the sound least odd.
        """
        banks = [
            {j: self._one(values[:, n], j, name) / self.scale[name] for j, values in raw.items()}
            for n, name in enumerate(self.domains)
        ]
        least = np.argmin([fused(of) for of in banks], axis=0)
        rows = np.arange(len(least))
        return {j: np.stack([of[j] for of in banks])[least, rows] for j in raw}


def judges_of(scoring: Mapping[str, Scoring]) -> dict[str, tuple[str, Scoring]]:
    """{view: its back ends} -> {"view/back_end": (view, its scoring by that back end alone)}."""
    return {
        f"{view}/{name}": (view, dataclasses.replace(of, back_end=name))
        for view, of in scoring.items()
        for name in of.back_end.split("+")
    }


def fused(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """{judge: standardised scores "n"} -> one score "n": the power mean of what lies above the
    usual; the highest where nothing does.

    Between the mean and the highest: one judge alone can call a sound odd, several that agree do
    so sooner.
    """
    of = np.stack(list(scores.values()))
    above = np.power(np.power(np.maximum(of, 0), POWER).mean(0), 1 / POWER)
    return np.where(above > 0, above, of.max(0))


def folds(domain: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The fold 0..9 of each sound: recordings stay whole, every domain is spread over all folds."""
    fold = np.empty(len(domain), np.int64)
    for name in np.unique(domain):
        number = np.unique(group[domain == name], return_inverse=True)[1]
        fold[domain == name] = number % min(FOLDS, number.max() + 1)
    return fold


def coreset(vectors: np.ndarray, size: int) -> np.ndarray:
    """Vectors "r ..." -> rows of `size` of them that cover the rest: greedy k-centre, as PatchCore
    (CVPR 2022).

    Starts from the vector closest to the mean. O(size r e).
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    flat = (flat - flat.mean(0)) / np.maximum(flat.std(0), np.finfo(np.float32).tiny)
    chosen = [int(np.argmin(np.square(flat).sum(1)))]
    nearest = np.full(len(flat), np.inf)
    while len(chosen) < min(size, len(flat)):
        nearest = np.minimum(nearest, np.square(flat - flat[chosen[-1]]).sum(1))
        chosen.append(int(np.argmax(nearest)))
    return np.sort(chosen)


def prepared(
    scoring: Scoring, vectors: np.ndarray, domain: np.ndarray, domains: list[str]
) -> tuple[Preparation, dict[str, np.ndarray]]:
    """Vectors of a bank "r ..." -> what is done to any vector before it is judged, and {domain: the
    bank's "r p c"}.
    """
    training = {name: vectors[domain == name] for name in domains}
    by_domain = {"source": training.get("source", vectors[:0]), **training}
    prepare = Preparation.fit(by_domain, scoring, _AXES)
    return prepare, {name: prepare(rows) for name, rows in training.items()}


def _scorer(scoring: Scoring, vectors: np.ndarray, domain: np.ndarray, domains: list[str]):
    """Vectors of a bank -> function from vectors "n ..." to scores "n d"."""
    prepare, training = prepared(scoring, vectors, domain, domains)
    fitted: Fitted = fit_back_end(training, scoring, _AXES)

    def score(test: np.ndarray) -> np.ndarray:
        found = prepare(test)
        scores = fitted.score(found.reshape(len(found), int(np.prod(found.shape[1:]))))
        return np.stack([scores[name] for name in domains], axis=1)

    return score
