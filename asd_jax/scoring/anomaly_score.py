"""Turns one machine's embeddings into a score and a decision for each test clip."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fitted import Bank, Fitted, Scores, as_rows
from asd_jax.scoring.domain_normalization import domain_statistics, normalized
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import DEFAULT, Scoring
from asd_jax.scoring.preparation import Preparation
from asd_jax.scoring.threshold import FEWEST, threshold
from asd_jax.scoring.windows import merge_windows

BLOCK = 8192  # test clips scored at once, whose float64 copies are all that is in memory


@dataclasses.dataclass(frozen=True)
class MachineScores:
    """Scores of one machine's test clips.

    Attributes:
        clips: metadata of the test clips, as in the embeddings; for clips cut into windows, that of
            the first window; without their vectors.
        score: anomaly scores "n".
        decision: decisions "n": 1 anomalous, 0 normal.
        threshold: {section: the score above which a clip is called anomalous}.
        notes: descriptions of anything unusual that was done.
    """

    clips: Embeddings
    score: np.ndarray
    decision: np.ndarray
    threshold: dict[str, float]
    notes: tuple[str, ...]


def score_machine(embeddings: Embeddings, scoring: Scoring = DEFAULT) -> MachineScores:
    """Returns the scores and decisions of one machine's test clips, computed section by section.

    Clips of split "train" form the bank. Clips of split "held_out" (normal, kept out of training)
    are never in the bank; they give the statistics and thresholds of normalization="held_out".

        found = score_machine(Embeddings.load("fan.npz"), Scoring(back_end="mahalanobis"))
        found.clips.files[found.decision == 1]  # the clips called anomalous

    Raises:
        InputError: there are no test clips, a section has no training clips, or an option is
            invalid.
    """
    return score_sections(embeddings, fit_sections(embeddings, scoring))


def fit_sections(embeddings: Embeddings, scoring: Scoring = DEFAULT) -> dict[str, "SectionScorer"]:
    """Returns {section with test clips: scorer fitted to its normal clips} for one machine.

    Raises:
        InputError: as for `score_machine`.
    """
    sections = sorted(set(embeddings.section[embeddings.split == "test"].tolist()))
    if not sections:
        raise InputError(
            "embeddings: no test clips to score (split must be train, held_out or test)"
        )
    scorers = {}
    for section in sections:
        own = embeddings[embeddings.section == section]
        train = _by_domain(own, "train")
        held_out = _by_domain(own, "held_out")
        # Windows of one clip are left out together, so the clip of each must be known.
        windows = None
        if embeddings.window_start_seconds is not None:
            windows = {split: _by_domain(own, split, own.clip) for split in ("train", "held_out")}
        try:
            scorers[section] = SectionScorer.fit(
                train, scoring, held_out=held_out, axes=embeddings.axes, windows=windows
            )
        except InputError as error:
            raise InputError(f"section {section}: {error}") from error
    return scorers


def score_sections(
    embeddings: Embeddings,
    scorers: Mapping[str, "SectionScorer"],
    *,
    normalization: str | None = None,
) -> MachineScores:
    """Returns the scores and decisions of one machine's test clips, section by section.

    Args:
        embeddings: all clips of the machine.
        scorers: {section: its scorer}.
        normalization: replaces the normalisation of the scorers, if given.

    Raises:
        InputError: a section cannot be scored, e.g. because it has no held-out clips.
    """
    test_rows = embeddings[embeddings.split == "test"]
    clips = test_rows
    if test_rows.window_start_seconds is not None:
        # `clip` numbers clips in the order of their file names, and so does np.unique.
        clips = test_rows[np.unique(test_rows.files, return_index=True)[1]]
    score = np.empty(len(clips.files))
    decision = np.empty(len(clips.files), np.int64)
    thresholds = {}
    notes = []
    for section, scorer in scorers.items():
        here = clips.section == section
        rows = test_rows[test_rows.section == section]
        try:
            score[here], cut, remarks = scorer.score(
                rows.vectors, normalization=normalization, clip=rows.clip
            )
        except InputError as error:
            raise InputError(f"section {section}: {error}") from error
        thresholds[section] = cut
        decision[here] = score[here] > cut
        notes += [f"section {section}: {note}" for note in remarks]
    # The vectors are not needed any more, and an archive's would fill the memory.
    return MachineScores(clips.without_vectors(), score, decision, thresholds, tuple(notes))


@dataclasses.dataclass
class SectionScorer:
    """A back end fitted to the normal clips of one section, which scores further clips of it."""

    bank: Bank
    held_out: Bank
    bank_clip: dict[str, np.ndarray] | None
    held_out_clip: dict[str, np.ndarray] | None
    prepare: Preparation
    scoring: Scoring
    axes: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        training: Mapping[str, np.ndarray],
        scoring: Scoring = DEFAULT,
        *,
        held_out: Mapping[str, np.ndarray] | None = None,
        axes: tuple[str, ...] = ("clip", "embedding"),
        windows: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> "SectionScorer":
        """Returns a scorer fitted to the normal embeddings of one section.

        Args:
            training: {domain: vectors "r ..."} for the domains source, target and unknown; they may
                be empty.
            scoring: options.
            held_out: normal clips kept out of training; needed only with normalization="held_out".
            axes: meaning of the axes of the vectors, see `Embeddings`.
            windows: {"train": ..., "held_out": {domain: number of each row's clip}}, if rows are
                windows.

        Raises:
            InputError: there are no training clips, or an option is invalid.
        """
        prepare = Preparation.fit(training, scoring, axes)
        bank, notes = _bank(
            {domain: prepare(v) for domain, v in training.items() if len(v)}, scoring
        )
        if not bank:
            raise InputError("no normal training clips to compare with (split train)")
        # Held-out clips give statistics and thresholds, and are never compared with.
        normal, _ = _bank(
            {domain: prepare(v) for domain, v in (held_out or {}).items() if len(v)}, scoring
        )
        clips = None
        normal_clips = None
        if windows is not None:
            clips, normal_clips = (
                _bank(
                    {domain: clip for domain, clip in windows[split].items() if len(clip)}, scoring
                )[0]
                for split in ("train", "held_out")
            )
        scorer = cls(
            bank=bank,
            held_out=normal,
            bank_clip=clips,
            held_out_clip=normal_clips,
            prepare=prepare,
            scoring=scoring,
            axes=axes,
            notes=tuple(notes),
        )
        # Fitting the back end now reports invalid options at once.
        _ = scorer.fitted
        return scorer

    @functools.cached_property
    def fitted(self) -> Fitted:
        """Returns the back end fitted to the whole bank."""
        return fit_back_end(self.bank, self.scoring, self.axes, self.bank_clip)

    def score(
        self,
        vectors: np.ndarray,
        *,
        normalization: str | None = None,
        clip: np.ndarray | None = None,
    ) -> tuple[np.ndarray, float, tuple[str, ...]]:
        """Returns (anomaly scores "n", threshold, notes) for embeddings "n ...".

        With normalization="test", scores and threshold depend on all n clips; otherwise each clip
        is scored independently. If rows are windows, `clip` holds the number of each row's clip,
        and the result has one score per clip instead of one per row.
        """
        mode = normalization or self.scoring.normalization
        domains = self.scoring.domains
        scores = self.bank_scores(vectors, clip)
        normal = self._held_out_scores(scores) if mode == "held_out" else self.self_scores
        # Self-scores of a bank's own clips only: other banks would be another scale.
        statistics, remarks = domain_statistics(
            scores, {name: normal[name][name] for name in scores}, mode
        )
        # As in systems that divide the scores of both banks by the deviation of the target one.
        if self.scoring.deviation == "target" and "target" in statistics:
            std = statistics["target"][1]
            statistics = {name: (mean, std) for name, (mean, _) in statistics.items()}
        # The threshold must be on the same normalised scale as the scores of the test clips.
        cut, more = self._threshold(
            np.concatenate([normalized(of, statistics, domains) for of in normal.values()])
        )
        return normalized(scores, statistics, domains), cut, (*self.notes, *remarks, *more)

    def _merged(self, scores: Scores, clip: np.ndarray | None) -> Scores:
        """Returns {bank: scores of clips}; the scores of a clip's windows are merged."""
        if self.bank_clip is None or clip is None:
            return scores
        # A section has only some of the clips, and `merge_windows` expects 0..b-1 without gaps.
        number = np.unique(clip, return_inverse=True)[1]
        return {
            name: merge_windows(values, number, how=self.scoring.windows)
            for name, values in scores.items()
        }

    @functools.cached_property
    def self_scores(self) -> dict[str, Scores]:
        """Returns {domain: {bank: scores of its normal clips, each left out of the bank}}.

        A window is left out together with all windows of its clip, because they overlap it.
        """
        clips = self.bank_clip
        scores = self.fitted.self_scores(clips)
        return (
            scores
            if clips is None
            else {domain: self._merged(of, clips[domain]) for domain, of in scores.items()}
        )

    def bank_scores(self, vectors: np.ndarray, clip: np.ndarray | None = None) -> Scores:
        """Returns {bank: scores "n" that are not normalised yet} of embeddings "n ..."."""
        scoring = self.scoring
        # Ranks, and functions of one's own, may depend on all clips that are scored together.
        together = scoring.fusion == "rank" or ":" in scoring.back_end
        blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
        # Even no vectors are a block, so that they give an empty array for every bank.
        if together or not blocks:
            blocks = [vectors]
        found = [self.fitted.score(as_rows(self.prepare(block))) for block in blocks]
        scores = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        return self._merged(scores, clip)

    def self_scores_without(self, groups: Bank) -> dict[str, Scores]:
        """Returns `self_scores` with all clips of the same group left out together.

        They are NaN where a bank has a single group, so that nothing is left to compare with.

        Args:
            groups: {bank: number of each row's group}.
        """
        scores = self.fitted.self_scores(groups)
        clips = self.bank_clip
        return {d: self._merged(of, clips[d]) if clips else of for d, of in scores.items()}

    def _held_out_scores(self, banks) -> dict[str, Scores]:
        if missing := sorted(set(banks) - set(self.held_out)):
            raise InputError(
                f"normalization held_out: no held-out {', '.join(missing)} clips in the "
                "embeddings (split held_out); keep some out of training, or use "
                "--config.scoring.normalization=train"
            )
        # Without windows each row is a clip, and None leaves its score unmerged.
        clips = self.held_out_clip or dict.fromkeys(self.held_out)
        scores = {
            domain: self.fitted.score(as_rows(vectors)) for domain, vectors in self.held_out.items()
        }
        return {domain: self._merged(of, clips[domain]) for domain, of in scores.items()}

    def _threshold(self, normal) -> tuple[float, list[str]]:
        normal = normal[~np.isnan(normal)]
        quantile = self.scoring.decision_quantile
        if len(np.unique(normal)) >= FEWEST:
            cut = threshold(normal, decision=self.scoring.decision, quantile=quantile)
            above = int(np.sum(normal > cut))
            asked = (1 - quantile) * len(normal)
            if self.scoring.decision == "quantile" or is_about(above, asked):
                return cut, []
            return cut, [
                f"{above} of {len(normal)} normal scores lie above the threshold, {asked:.0f} "
                "were asked for: they do not follow the distribution of "
                f"scoring.decision={self.scoring.decision}; quantile needs none"
            ]
        # Without normal scores there is no evidence for an anomaly, so no clip is called anomalous.
        cut = float(normal.max()) if len(normal) else np.inf
        return cut, [
            f"too few normal scores to fit a threshold: {cut:.6g}, the highest of them, is used"
        ]


def is_about(count: int, expected: float) -> bool:
    """Returns whether a count is between half and twice the expected one, or differs by chance."""
    # As for Poisson's distribution, the standard deviation is the root of the expected count.
    by_chance = abs(count - expected) <= 3 * np.sqrt(expected)
    return bool(expected / 2 <= count <= 2 * expected or by_chance)


def _bank(vectors: Mapping[str, np.ndarray], scoring: Scoring) -> tuple[Bank, list[str]]:
    """Returns the banks that the options require, without empty domains, and notes."""
    if not vectors:
        return {}, []
    # A clip of unknown domain fits neither bank, so one bank holds all clips.
    if scoring.domains == "pooled" or "unknown" in vectors:
        notes = (
            [] if "unknown" not in vectors else ["training clips without domain: one pooled bank"]
        )
        return {"pooled": np.concatenate(list(vectors.values()))}, notes
    notes = [
        f"no {domain} training clips: that bank is left out"
        for domain in ("source", "target")
        if domain not in vectors
    ]
    return {domain: vectors[domain] for domain in ("source", "target") if domain in vectors}, notes


def _by_domain(
    embeddings: Embeddings, split: str, values: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns {domain: rows of one split} of the vectors, or of `values` if given."""
    values = embeddings.vectors if values is None else values
    # Rows of the other splits get a domain that no bank has.
    domain = np.where(embeddings.split == split, embeddings.domain, "")
    return {name: values[domain == name] for name in ("source", "target", "unknown")}
