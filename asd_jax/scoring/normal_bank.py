"""Stores several views of a machine's normal sounds and scores further sounds against them.

The scores of all views are fused into one.
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

FOLDS = 10  # number of folds for self-scores
FEWEST = 3  # smallest number of normal sounds that can be compared with each other
LEAST_SPREAD = 1e-9  # smallest range of normal scores over the largest; anything less is rounding
DOMAINS = ("pooled", "source", "target")
# Exponent of the power mean over judges. Values from 2 to infinity rank the recordings of four
# machines alike.
POWER = 3
# Factor on a threshold that is based on moved copies, because how far they move is a guess.
UNSURE = 1.25
_BORROWED = 5  # weight, in recordings, of the spread of both domains beside that of one domain
_REFERENCE = 0.05  # false-alarm rate at which the scales of the two domains are made equal
# Vectors with bands have these axes too, because only layers are treated differently.
_AXES = ("clip", "embedding")


@dataclasses.dataclass(frozen=True)
class NormalBank:
    """Normal sounds in several views, with scores of how much a further sound differs from them.

    A view is one kind of vector, scored by one or more back ends. Each pair of view and back end is
    a judge. The scores of a judge are standardised by robust statistics of its scores of the normal
    sounds themselves. Each of those scores is computed with a bank, a preparation and a fit that
    did not use the sound's recording, so no anomalous recording among them can hide itself. `fused`
    combines all judges into one score. No anomalies are needed to weight them.

    How normal sounds of a *new* session score is estimated separately, by leaving out each session
    as a whole. If fewer than three sessions can be left out, moved copies of the sounds (simulated
    recordings on another day) stand for new sessions.

    Attributes:
        scoring: {view: its back ends, joined by "+"}.
        vectors: {view: "r ..."}, float32; a coreset may keep only some of the rows.
        rows: {view: "r"}, the normal sound 0..n-1 of each row.
        domain: "n", "source" or "target", or "pooled" for all.
        group: "n", the recording of each sound; sounds of one recording are never compared with
            each other.
        raw: {judge: "n d"}, self-scores against the bank of each domain; NaN for sounds that do not
            count.
        session: "n", the session of each sound.
        new: {judge: "n d"}, scores as sounds of a new session; NaN for sounds that are no evidence.
        moved: {view: "m ..."}, vectors of moved copies.
        moved_rows: "m", the normal sound 0..n-1 of each moved copy.
        voting: the judges whose scores are used.
        on_trial: views that do not learn from moved copies, and vote only if they recognise new
            sessions as well as the other views do.
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
        """Returns a bank of normal sounds with their self-scores.

        Args:
            scoring: {view: its back ends}.
            vectors: {view: "n ..."}.
            domain: domain of each sound, see the attributes.
            group: recording of each sound, see the attributes.
            rows: {view: the sounds whose vectors are kept}, if a coreset was chosen; all by
                default.
            known: {"raw" or "new": self-scores} that need not be computed again; NaN where they
                must.
            counted: "n", whether the self-score of each sound is reliable; it is not if an encoder
                was trained on the sound.
            session: session of each sound, see the attributes; by default each recording is a
                session.
            moved: the sounds "m" that have moved copies, and {view: vectors "m ..."} of the copies.
            on_trial: views that are used only if they recognise the normal sounds of new sessions
                at least as well as one of the other views does.

        Raises:
            InputError: fewer than 3 sounds count, or a bank has fewer than 3 recordings.
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

    def __getstate__(self) -> dict[str, object]:
        """Returns what pickle and copy keep: the fields, without the cached functions."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def check(self) -> None:
        """Raises InputError if sounds cannot be compared with this bank, e.g. one from a file.

        Raises:
            InputError: fewer than 3 sounds count, a domain has fewer than 3 recordings, or all
                normal sounds score the same, so that other scores cannot be judged.
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
        """Raises InputError if the bank of a domain has fewer than 3 recordings."""
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
        """Returns the names of the banks: source and target, or one of the three domains."""
        return [name for name in DOMAINS if name in self.domain]

    @functools.cached_property
    def judges(self) -> dict[str, tuple[str, Scoring]]:
        """Returns {"view/back_end": (view, its scoring with that back end alone)}."""
        return judges_of(self.scoring)

    @functools.cached_property
    def counted(self) -> np.ndarray:
        """Returns a mask "n" of the normal sounds that have self-scores."""
        return ~np.any(np.isnan(next(iter(self.raw.values()))), axis=1)

    @functools.cached_property
    def evidence(self) -> np.ndarray:
        """Returns a mask "n" of the normal sounds that show how a new session scores."""
        return ~np.any(np.isnan(next(iter(self.new.values()))), axis=1)

    @functools.cached_property
    def by_sessions(self) -> dict[str, bool]:
        """Returns {bank: whether at least three of its sessions can be left out}.

        If so, they show how a new session scores.
        """
        return {name: len(self.left_out(name)) >= FEWEST for name in self.domains}

    def left_out(self, name: str) -> np.ndarray:
        """Returns the sessions of a domain that hold at most half of its sounds.

        Only these can be left out, because enough sounds must remain to compare with.
        """
        numbers, counts = np.unique(self.session[self.domain == name], return_counts=True)
        return numbers[2 * counts <= counts.sum()]

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Returns the fused scores of the normal sounds, each scored as if its session were new."""
        return fused(self._standardized({j: self.new[j][self.evidence] for j in self.voting}))

    @functools.cached_property
    def normal_session(self) -> np.ndarray:
        """Returns the session of each score in `normal`.

        It is the recording if moved copies stand for sessions.
        """
        moved = ~np.array([self.by_sessions[name] for name in self.domain])
        session = np.where(moved, self.session.max() + 1 + self.group, self.session)
        return session[self.evidence]

    @functools.cached_property
    def familiar(self) -> np.ndarray:
        """Returns the fused self-scores of the sounds that count, as sounds of their own session.

        The scores are in robust standard deviations of the self-scores.
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
        """Returns the fused scores of the sounds that count, as sounds of their own session.

        The scores are on the scale of `score`.
        """
        return fused(self._standardized({j: self.raw[j][self.counted] for j in self.voting}))

    def score(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {judge: scores "n"} for {view: vectors "n ..."}; higher is more anomalous.

        The scores are in standard deviations of normal sounds.
        """
        return self._standardized(
            {judge: self._fitted[judge](vectors[self.judges[judge][0]]) for judge in self.voting}
        )

    def self_scores(
        self, judge: str, vectors: np.ndarray, raw: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Returns `raw` with the wanted rows filled in.

        Each is scored by a bank without any sound of its recording.
        """
        return self._without(judge, folds(self.domain, self.group), vectors, raw, wanted)

    def _without(self, judge, fold, vectors, scores, wanted):
        """Returns scores "n d" with the wanted rows filled in.

        Each of the vectors "n ..." is scored by a bank without its fold.
        """
        view, scoring = self.judges[judge]
        scores = scores.copy()
        for left_out in np.unique(fold[wanted]):
            out = (fold == left_out) & wanted
            bank = self.training(view, fold != left_out)
            scores[out] = _scorer(scoring, *bank, self.domains)(vectors[out])
        return scores

    def training(self, view: str, stay: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the vectors with which the judges of a view compare, and their domains.

        `stay` is a mask "n" of the normal sounds to use; None uses all. Moved copies are included
        where they stand for sessions: a shift of the microphone is normal, and what it does not
        explain is not.
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
        """Returns scores "n d" of the sounds as sounds of a new session."""
        # If each recording is a session, the self-scores already leave out whole sessions.
        if np.array_equal(self.session, self.group) and all(self.by_sessions.values()):
            return self.raw[judge]
        scores = self._unknown() if known is None else known
        wanted = self.counted & np.isnan(scores).any(1)
        sessions = np.zeros(len(self.domain), bool)
        for name in self.domains:
            if self.by_sessions[name]:
                sessions |= (self.domain == name) & np.isin(self.session, self.left_out(name))
            # Without moved copies, the self-scores are the only estimate.
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
        """Returns the judges that vote.

        A judge of a view on trial is excluded if the median score that it gives to sounds of new
        sessions is higher than that of every trusted judge.
        """
        # Only sounds whose session was left out show how a judge reacts to a new session.
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
        """Returns {judge: {bank: (usual score, spread) of normal sounds of its own domain}}.

        They are computed from sounds of a known session if sessions can be compared, and otherwise
        from the moved copies: a judge that reacts mainly to the position of the microphone then
        gets a wide spread.
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
        """Returns the spread of a domain's scores, shrunk towards the spread of both domains.

        The spreads are taken relative to the usual score of each domain. The fewer recordings a
        domain has, the more its spread is shrunk.
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
        """Returns {bank: divisor of its fused scores}, so that one threshold fits all banks."""
        # Moved copies are moved equally far in both domains, so the scales are equal.
        if len(self.domains) == 1 or not any(self.by_sessions.values()):
            return dict.fromkeys(self.domains, 1.0)
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
        """Returns {judge: standardised scores "n"} from {judge: scores against each bank "n d"}.

        Each sound is scored against the bank in which it is least anomalous.
        """
        banks = [
            {j: self._one(values[:, n], j, name) / self.scale[name] for j, values in raw.items()}
            for n, name in enumerate(self.domains)
        ]
        # All judges of a sound must use the same bank, so the bank is chosen by the fused score.
        least = np.argmin([fused(of) for of in banks], axis=0)
        rows = np.arange(len(least))
        return {j: np.stack([of[j] for of in banks])[least, rows] for j in raw}


def judges_of(scoring: Mapping[str, Scoring]) -> dict[str, tuple[str, Scoring]]:
    """Returns {"view/back_end": (view, its scoring with that back end alone)}."""
    return {
        f"{view}/{name}": (view, dataclasses.replace(of, back_end=name))
        for view, of in scoring.items()
        for name in of.back_end.split("+")
    }


def fused(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns one score "n" for {judge: standardised scores "n"}: a power mean of the positive
    parts.

    If no score is positive, returns the highest. The power mean lies between the mean and the
    maximum: one judge alone can call a sound anomalous, and several that agree do so sooner.
    """
    of = np.stack(list(scores.values()))
    above = np.power(np.power(np.maximum(of, 0), POWER).mean(0), 1 / POWER)
    return np.where(above > 0, above, of.max(0))


def folds(domain: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the fold 0..9 of each sound.

    Recordings are never split, and the sounds of each domain are spread over all folds.
    """
    fold = np.empty(len(domain), np.int64)
    for name in np.unique(domain):
        number = np.unique(group[domain == name], return_inverse=True)[1]
        fold[domain == name] = number % min(FOLDS, number.max() + 1)
    return fold


def coreset(vectors: np.ndarray, size: int) -> np.ndarray:
    """Returns the rows of `size` vectors that cover all vectors "r ...".

    The rows are chosen by greedy k-centre selection, as in PatchCore (CVPR 2022), starting with the
    vector closest to the mean. Takes O(size r e).
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    # Standardising keeps dimensions with a large variance from dominating the distances.
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
    """Returns the preparation of vectors, and {domain: prepared bank "r p c"}.

    Args:
        scoring: options.
        vectors: vectors of a bank "r ...".
        domain: domain of each vector, "r".
        domains: the domains to return.
    """
    training = {name: vectors[domain == name] for name in domains}
    by_domain = {"source": training.get("source", vectors[:0]), **training}
    prepare = Preparation.fit(by_domain, scoring, _AXES)
    return prepare, {name: prepare(rows) for name, rows in training.items()}


def _scorer(scoring: Scoring, vectors: np.ndarray, domain: np.ndarray, domains: list[str]):
    """Returns a function from vectors "n ..." to scores "n d" against a bank."""
    prepare, training = prepared(scoring, vectors, domain, domains)
    fitted: Fitted = fit_back_end(training, scoring, _AXES)

    def score(test: np.ndarray) -> np.ndarray:
        found = prepare(test)
        scores = fitted.score(found.reshape(len(found), int(np.prod(found.shape[1:]))))
        return np.stack([scores[name] for name in domains], axis=1)

    return score
