"""What a machine sounds like when it is well: several views of its normal sounds, fused to one
score.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fitted import Fitted
from asd_jax.scoring.domain_normalization import domain_statistics, normalized
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation

FOLDS = 10  # for self-scores
FEWEST = 3  # normal sounds that can be compared with each other at all
LEAST_SPREAD = 1e-9  # of normal scores, over the largest; what is less is rounding
DOMAINS = ("pooled", "source", "target")
_AXES = ("clip", "embedding")  # with bands too: only layers would count


@dataclasses.dataclass(frozen=True)
class NormalBank:
    """Normal sounds seen by several views, and how odd a further sound is beside them.

    A view is one kind of vector, judged by one back end or more. A judge's score is standardised by
    the scores of the normal sounds themselves, each compared with a bank, a preparation and a fit
    that saw nothing of its recording. The fused score is the highest of all judges: a sound is odd
    if any finds it odd, and a view that cannot tell anything about this machine adds little. No
    anomaly is needed to weigh them.

    Attributes:
        scoring: {view: its back ends, joined by "+"}.
        vectors: {view: "r ..."}, float32; a coreset may keep some rows only.
        rows: {view: "r"}, which of the n normal sounds they are.
        domain: "n", "source" or "target", or all "pooled".
        group: "n", the recording of each; sounds of one recording never vouch for each other.
        raw: {judge: "n d"}, self-scores against each domain's bank; NaN where a sound does not
            count.
    """

    scoring: Mapping[str, Scoring]
    vectors: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    domain: np.ndarray
    group: np.ndarray
    raw: Mapping[str, np.ndarray]

    @classmethod
    def fit(
        cls,
        scoring: Mapping[str, Scoring],
        vectors: Mapping[str, np.ndarray],
        domain: np.ndarray,
        group: np.ndarray,
        *,
        rows: Mapping[str, np.ndarray] | None = None,
        known: Mapping[str, np.ndarray] | None = None,
        counted: np.ndarray | None = None,
    ) -> "NormalBank":
        """Normal sounds -> bank with their self-scores.

        Args:
            scoring: {view: its back ends}.
            vectors: {view: "n ..."}.
            domain: see above.
            group: see above.
            rows: {view: the sounds whose vectors are kept} where a coreset was chosen; all
                otherwise.
            known: self-scores that need not be computed, NaN where they must.
            counted: sounds whose self-scores may be trusted; an encoder has not been trained on
                them.

        Raises:
            InputError: fewer than 3 sounds that count, a bank of fewer than 3 recordings.
        """
        everything = np.arange(len(domain))
        rows = {view: everything for view in scoring} if rows is None else rows
        counted = np.ones(len(domain), bool) if counted is None else counted
        if counted.sum() < FEWEST:
            raise InputError(
                f"{counted.sum()} normal sounds to learn from: at least {FEWEST} are needed, 20 "
                f"or more are better"
            )
        bank = cls(
            scoring, {view: vectors[view][rows[view]] for view in scoring}, rows, domain, group, {}
        )
        bank.check_recordings()
        raw = {}
        for judge, (view, _) in bank.judges.items():
            old = (
                np.full((len(domain), len(bank.domains)), np.nan) if known is None else known[judge]
            )
            raw[judge] = bank.self_scores(judge, vectors[view], old, counted & np.isnan(old).any(1))
        return dataclasses.replace(bank, raw=raw)

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
                    f"silent ones, count "
                    f"as one: at least {FEWEST} are needed to compare; record more, or keep a "
                    f"larger coreset"
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
    def normal(self) -> np.ndarray:
        """Fused self-scores of the sounds that count."""
        return fused(
            self._standardized({judge: values[self.counted] for judge, values in self.raw.items()})
        )

    def score(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{view: vectors "n ..."} -> {judge: scores "n"} in standard deviations of normal sounds;
        higher is odder.
        """
        return self._standardized(
            {judge: self._fitted[judge](vectors[view]) for judge, (view, _) in self.judges.items()}
        )

    def self_scores(
        self, judge: str, vectors: np.ndarray, raw: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Fills the wanted rows of `raw` with scores by banks without any sound of their
        recordings.
        """
        view, scoring = self.judges[judge]
        fold, rows, raw = folds(self.domain, self.group), self.rows[view], raw.copy()
        for left_out in np.unique(fold[wanted]):
            rest, out = fold[rows] != left_out, (fold == left_out) & wanted
            score = _scorer(
                scoring, self.vectors[view][rest], self.domain[rows][rest], self.domains
            )
            raw[out] = score(vectors[out])
        return raw

    @functools.cached_property
    def _fitted(self):
        return {
            judge: _scorer(scoring, self.vectors[view], self.domain[self.rows[view]], self.domains)
            for judge, (view, scoring) in self.judges.items()
        }

    @functools.cached_property
    def statistics(self) -> dict[str, dict[str, tuple[float, float]]]:
        """{judge: {bank: mean and standard deviation of its own domain's self-scores}}."""
        found = {}
        for judge, values in self.raw.items():
            own = {name: values[self.domain == name, n] for n, name in enumerate(self.domains)}
            found[judge] = domain_statistics({}, own, "train")[0]
        return found

    def _standardized(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{judge: scores against each bank "n d"} -> {judge: standardised scores "n", the lowest
        over the banks}.
        """
        found = {}
        for judge, values in raw.items():
            columns = dict(zip(self.domains, values.T, strict=True))
            found[judge] = normalized(columns, self.statistics[judge])
        return found


def judges_of(scoring: Mapping[str, Scoring]) -> dict[str, tuple[str, Scoring]]:
    """{view: its back ends} -> {"view/back_end": (view, its scoring by that back end alone)}."""
    return {
        f"{view}/{name}": (view, dataclasses.replace(of, back_end=name))
        for view, of in scoring.items()
        for name in of.back_end.split("+")
    }


def fused(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """{judge: standardised scores "n"} -> the highest of them "n"."""
    return np.max(list(scores.values()), axis=0)


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
