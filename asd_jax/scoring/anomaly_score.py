"""From one machine's embeddings to a score and a decision per test clip."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from asd_jax.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, Scores
from asd_jax.scoring.domain_normalization import domain_statistics, normalized
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import DEFAULT, Scoring
from asd_jax.scoring.preparation import Preparation
from asd_jax.scoring.threshold import FEWEST, threshold


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


def score_machine(embeddings: Embeddings, scoring: Scoring = DEFAULT) -> MachineScores:
    """Embeddings of one machine -> scores and decisions of its test clips, section by section.

    Clips of split "train" make the bank. Clips of split "held_out" (normal, kept out of training) are never in the
    bank: they give the statistics and thresholds of normalization="held_out".

    Raises:
        InputError: no test clips, a section without training clips, options that do not exist.
    """
    return score_sections(embeddings, fit_sections(embeddings, scoring))


def fit_sections(embeddings: Embeddings, scoring: Scoring = DEFAULT) -> dict[str, "SectionScorer"]:
    """Embeddings of one machine -> {section that has test clips: scorer fitted to its normal clips}."""
    sections = sorted(set(embeddings.section[embeddings.split == "test"].tolist()))
    if not sections:
        raise InputError("embeddings: no test clips to score (split must be train, held_out or test)")
    scorers = {}
    for section in sections:
        own = embeddings[embeddings.section == section]
        train, held_out = _by_domain(own, "train"), _by_domain(own, "held_out")
        try:
            scorers[section] = SectionScorer.fit(train, scoring, held_out=held_out, axes=embeddings.axes)
        except InputError as error:
            raise InputError(f"section {section}: {error}") from error
    return scorers


def score_sections(
    embeddings: Embeddings, scorers: Mapping[str, "SectionScorer"], *, normalization: str | None = None
) -> MachineScores:
    """Test clips of one machine -> scores by their sections' scorers; `normalization` replaces the scorers' own."""
    clips = embeddings[embeddings.split == "test"]
    score, decision = np.empty(len(clips.files)), np.empty(len(clips.files), np.int64)
    thresholds, notes = {}, []
    for section, scorer in scorers.items():
        here = clips.section == section
        try:
            score[here], cut, told = scorer.score(clips.vectors[here], normalization=normalization)
        except InputError as error:
            raise InputError(f"section {section}: {error}") from error
        thresholds[section], decision[here] = cut, score[here] > cut
        notes += [f"section {section}: {note}" for note in told]
    return MachineScores(clips, score, decision, thresholds, tuple(notes))


@dataclasses.dataclass
class SectionScorer:
    """A back end fitted to one section's normal clips; scores any further clip of it."""

    fitted: Fitted
    held_out: Bank
    prepare: Preparation
    scoring: Scoring
    notes: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        training: Mapping[str, np.ndarray],
        scoring: Scoring = DEFAULT,
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
        prepare = Preparation.fit(training, scoring, axes)
        bank, notes = _bank({domain: prepare(v) for domain, v in training.items() if len(v)}, scoring)
        if not bank:
            raise InputError("no normal training clips to compare with (split train)")
        normal, _ = _bank({domain: prepare(v) for domain, v in (held_out or {}).items() if len(v)}, scoring)
        fitted = fit_back_end(bank, scoring, axes)
        return cls(fitted, {d: _flat(v) for d, v in normal.items()}, prepare, scoring, tuple(notes))

    def score(
        self, vectors: np.ndarray, *, normalization: str | None = None
    ) -> tuple[np.ndarray, float, tuple[str, ...]]:
        """Embeddings "n ..." -> (anomaly scores "n", threshold, notes).

        With normalization="test" scores and threshold depend on all n clips, otherwise each clip stands alone.
        """
        mode, domains = normalization or self.scoring.normalization, self.scoring.domains
        domains = "min" if domains == "pooled" else domains
        scores = self.fitted.score(_flat(self.prepare(vectors)))
        normal = self._held_out_scores(scores) if mode == "held_out" else self._self_scores
        statistics, told = domain_statistics(scores, {name: normal[name][name] for name in scores}, mode)
        cut, more = self._threshold(np.concatenate([normalized(of, statistics, domains) for of in normal.values()]))
        return normalized(scores, statistics, domains), cut, (*self.notes, *told, *more)

    @functools.cached_property
    def _self_scores(self) -> dict[str, Scores]:
        return self.fitted.self_scores()

    def _held_out_scores(self, banks) -> dict[str, Scores]:
        if missing := sorted(set(banks) - set(self.held_out)):
            raise InputError(
                f"normalization held_out: no held-out {', '.join(missing)} clips in the embeddings (split held_out); "
                "keep some out of training, or use --config.scoring.normalization=train"
            )
        return {domain: self.fitted.score(vectors) for domain, vectors in self.held_out.items()}

    def _threshold(self, normal) -> tuple[float, list[str]]:
        normal = normal[~np.isnan(normal)]
        if len(np.unique(normal)) >= FEWEST:
            return threshold(normal, decision=self.scoring.decision, quantile=self.scoring.decision_quantile), []
        cut = float(normal.max()) if len(normal) else np.inf
        return cut, [f"too few normal scores to fit a threshold: {cut:.6g}, the highest of them, is used"]


def _flat(vectors):
    return vectors.reshape(len(vectors), int(np.prod(vectors.shape[1:])))


def _bank(vectors: Mapping[str, np.ndarray], scoring: Scoring) -> tuple[Bank, list[str]]:
    """The banks that the options ask for, of domains that are not empty, and notes on them."""
    if not vectors:
        return {}, []
    if scoring.domains == "pooled" or "unknown" in vectors:
        notes = [] if "unknown" not in vectors else ["training clips without domain: one pooled bank"]
        return {"pooled": np.concatenate(list(vectors.values()))}, notes
    notes = [
        f"no {domain} training clips: that bank is left out" for domain in ("source", "target") if domain not in vectors
    ]
    return {domain: vectors[domain] for domain in ("source", "target") if domain in vectors}, notes


def _by_domain(embeddings: Embeddings, split: str) -> dict[str, np.ndarray]:
    vectors, domain = embeddings.vectors, np.where(embeddings.split == split, embeddings.domain, "")
    return {name: vectors[domain == name] for name in ("source", "target", "unknown")}
