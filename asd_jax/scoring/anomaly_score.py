"""From one machine's embeddings to a score and a decision per test clip."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.errors import InputError
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, Scores
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.domain_normalization import domain_statistics, normalized
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.threshold import FEWEST, threshold


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How embeddings become scores; the keys of `config.scoring`."""

    back_end: str = "knn"  # one of BACK_ENDS
    distance: str = "cosine"  # of the back ends that have one: cosine | euclidean
    k: int = 1  # neighbours of knn
    standardize: bool = False  # each dimension by mean and std of the source training clips
    normalization: str = "train"  # domain normalisation: train | test | held_out | none
    domains: str = "min"  # min over the domains | source | target | pooled: one bank of both domains
    decision: str = "gamma"  # threshold: gamma | quantile | extreme_value
    decision_quantile: float = 0.9  # the DCASE baseline's


BACK_ENDS = {
    "knn": lambda bank, scoring: knn(bank, distance=scoring.distance, k=scoring.k),
}


@dataclasses.dataclass(frozen=True)
class MachineScores:
    """Scores of one machine's test clips.

    Attributes:
        clips: the test clips, as they were in the embeddings.
        score: anomaly score "n".
        decision: 1 anomalous, 0 normal "n".
        threshold: {section: the score above which a clip is called anomalous}.
        notes: what was done out of the ordinary.
    """

    clips: Embeddings
    score: np.ndarray
    decision: np.ndarray
    threshold: dict[str, float]
    notes: tuple[str, ...]


def score_machine(embeddings: Embeddings, scoring: Scoring = Scoring()) -> MachineScores:
    """Embeddings of one machine -> scores and decisions of its test clips, section by section.

    Clips of split "train" make the bank. Clips of split "held_out" (normal, kept out of training) are never in the
    bank: they give the statistics and thresholds of normalization="held_out".

    Raises:
        InputError: no test clips, a section without training clips, options that do not exist.
    """
    clips = embeddings[embeddings.split == "test"]
    if not len(clips.files):
        raise InputError("embeddings: no test clips to score (split must be train, held_out or test)")
    score, decision = np.empty(len(clips.files)), np.empty(len(clips.files), np.int64)
    thresholds, notes = {}, []
    for section in sorted(set(clips.section.tolist())):
        own = embeddings[embeddings.section == section]
        try:
            scorer = SectionScorer.fit(
                _by_domain(own, "train"), scoring, held_out=_by_domain(own, "held_out"), axes=embeddings.axes
            )
            here = clips.section == section
            score[here], thresholds[section], told = scorer.score(clips.vectors[here])
        except InputError as error:
            raise InputError(f"section {section}: {error}") from error
        decision[here] = score[here] > thresholds[section]
        notes += [f"section {section}: {note}" for note in told]
    return MachineScores(clips, score, decision, thresholds, tuple(notes))


@dataclasses.dataclass(frozen=True)
class SectionScorer:
    """A back end fitted to one section's normal clips; scores any further clip of it."""

    fitted: Fitted
    normal_scores: dict[str, Scores]
    prepare: "Preparation"
    scoring: Scoring
    notes: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        training: Mapping[str, np.ndarray],
        scoring: Scoring = Scoring(),
        *,
        held_out: Mapping[str, np.ndarray] | None = None,
        axes: tuple[str, ...] = ("clip", "embedding"),
    ) -> "SectionScorer":
        """Normal embeddings {domain: "r ..."} -> scorer.

        Args:
            training: domains source, target, unknown; empty ones may be there.
            scoring: options.
            held_out: normal clips kept out of training, only needed with normalization="held_out".
            axes: what the axes of the vectors are, see `Embeddings`.
        """
        if scoring.back_end not in BACK_ENDS:
            raise InputError(f"back_end {scoring.back_end!r}: must be one of {', '.join(BACK_ENDS)}")
        prepare = Preparation.fit(training, scoring, axes)
        bank, notes = _bank({domain: prepare(vectors) for domain, vectors in training.items()}, scoring)
        fitted = BACK_ENDS[scoring.back_end](bank, scoring)
        if scoring.normalization == "held_out":
            normal, told = _bank({d: prepare(v) for d, v in (held_out or {}).items()}, scoring)
            if not set(bank) <= set(normal):
                raise InputError(
                    f"normalization held_out: no held-out {', '.join(set(bank) - set(normal))} clips in the embeddings "
                    "(split held_out); keep some out of training, or use --config.scoring.normalization=train"
                )
            normal_scores = {domain: fitted.score(vectors) for domain, vectors in normal.items()}
        else:
            normal_scores = fitted.self_scores()
        return cls(fitted, normal_scores, prepare, scoring, tuple(notes))

    def score(self, vectors: np.ndarray) -> tuple[np.ndarray, float, tuple[str, ...]]:
        """Embeddings "n ..." -> (anomaly scores "n", threshold, notes).

        With normalization="test" scores and threshold depend on all n clips, otherwise each clip stands alone.
        """
        scores = self.fitted.score(self.prepare(vectors))
        own = {domain: self.normal_scores[domain][domain] for domain in scores}
        statistics, told = domain_statistics(scores, own, self.scoring.normalization)
        normal = np.concatenate([normalized(of, statistics, self._domains) for of in self.normal_scores.values()])
        normal = normal[~np.isnan(normal)]
        if len(np.unique(normal)) < FEWEST:
            cut = float(normal.max()) if len(normal) else np.inf
            told.append(f"too few normal scores to fit a threshold: {cut:.6g}, the highest of them, is used")
        else:
            cut = threshold(normal, decision=self.scoring.decision, quantile=self.scoring.decision_quantile)
        return normalized(scores, statistics, self._domains), cut, (*self.notes, *told)

    @property
    def _domains(self):
        return "min" if self.scoring.domains == "pooled" else self.scoring.domains


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What happens to a vector before any back end sees it."""

    mean: np.ndarray | float
    std: np.ndarray | float
    per_band_length: bool

    @classmethod
    def fit(cls, training: Mapping[str, np.ndarray], scoring: Scoring, axes: tuple[str, ...]) -> "Preparation":
        """Statistics of the source training clips (of all, where there are no source clips)."""
        mean, std = 0.0, 1.0
        vectors = training.get("source", np.empty(0))
        if not len(vectors):
            vectors = np.concatenate([v for v in training.values() if len(v)] or [np.empty((0, 1))])
        if scoring.standardize and len(vectors):
            vectors = np.asarray(vectors, np.float64)
            mean, std = vectors.mean(0), vectors.std(0)
            std = np.where(std > 1e-12 * np.abs(vectors).max(), std, 1.0)  # a constant dimension says nothing
        return cls(mean, std, scoring.distance == "cosine")

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors "n ..." -> float64 "n e"; bands flattened.

        For cosine each band is first given length 1, so that the distance is the mean of the bands' distances and no
        loud band outweighs the others.
        """
        vectors = (np.asarray(vectors, np.float64) - self.mean) / self.std
        if vectors.ndim > 2 and self.per_band_length:
            length = np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors = vectors / np.where(length > 0, length, 1)
        return vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:])))


def _bank(vectors: Mapping[str, np.ndarray], scoring: Scoring) -> tuple[Bank, list[str]]:
    """The banks that the options ask for, empty domains left out, and notes on it."""
    found = {domain: v for domain, v in vectors.items() if len(v)}
    if not found:
        raise InputError("no normal training clips to compare with (split train)")
    if scoring.domains == "pooled" or "unknown" in found:
        notes = [] if "unknown" not in found else ["training clips without domain: one pooled bank"]
        return {"pooled": np.concatenate(list(found.values()))}, notes
    notes = [
        f"no {domain} training clips: that bank is left out" for domain in ("source", "target") if domain not in found
    ]
    return {domain: found[domain] for domain in ("source", "target") if domain in found}, notes


def _by_domain(embeddings: Embeddings, split: str) -> dict[str, np.ndarray]:
    vectors, domain = embeddings.vectors, np.where(embeddings.split == split, embeddings.domain, "")
    return {name: vectors[domain == name] for name in ("source", "target", "unknown")}
