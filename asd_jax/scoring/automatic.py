"""Chooses a back end for each machine from its normal clips alone.

Pseudo-anomalies are made in the space of the embeddings, and the candidate that separates them best
from normal clips is chosen. Neither labels nor test clips are used. Wilkinghoff and Tan, "Can We
Predict Anomaly Detection Performance from Embedding-Space Geometry?" (arXiv 2609.26460), "Pseudo
AUC" of "Diverse" pseudo-anomalies.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from asd_jax.runtime.errors import InputError, error_context
from asd_jax.scoring.anomaly_score import SectionScorer
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.domain_normalization import domain_statistics, normalized
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring

STANDARDIZED = {"distance": "euclidean", "standardize": True}
# What back_end=auto chooses from: name -> options that differ from those of the config.
CANDIDATES: Mapping[str, Mapping] = {
    "knn": {"back_end": "knn", "distance": "cosine"},
    "standardised knn": {"back_end": "knn", **STANDARDIZED},
    "local density": {"back_end": "local_density", "distance": "cosine"},
    "standardised local density": {"back_end": "local_density", **STANDARDIZED},
    "varmin": {"back_end": "varmin", "distance": "cosine"},
    "mahalanobis": {"back_end": "mahalanobis"},
    "standardised PCA residual": {"back_end": "pca_residual", **STANDARDIZED},
}
_MOST = 1000  # of each kind of pseudo-anomaly; more do not make the AUC more certain


def chosen_scoring(
    machines: Mapping[str, Embeddings], scoring: Scoring
) -> dict[str, tuple[Scoring, str]]:
    """Returns {machine: (its scoring, a note on the choice)} for back_end=auto.

    Embeddings with layers are also chosen by layer. A candidate that needs more clips than a
    machine has is left out.

    Args:
        machines: {machine: embeddings}; the normal clips of the others are pseudo-anomalies.
        scoring: the options that the candidates share.

    Raises:
        InputError: no candidate can be fitted to a machine's clips.
    """
    found = {}
    for machine, embeddings in machines.items():
        others = [of for name, of in machines.items() if name != machine]
        values = {}
        reasons = []
        # A candidate that cannot be fitted to one machine may be the best for another.
        options = dict(candidates(scoring, embeddings))
        for name, candidate in options.items():
            try:
                values[name] = pseudo_auc(embeddings, candidate, others)
            except InputError as error:
                reasons.append(f"{name}: {error}")
        # NaN: no normal clip could be left out, so the candidate was not judged.
        values = {name: value for name, value in values.items() if not np.isnan(value)}
        if not values:
            why = "; ".join(reasons) or "there are too few normal clips to compare with"
            with error_context(f"machine {machine}"):
                raise InputError(f"back_end=auto: no candidate can be judged ({why})")
        # Of equal values the first counts, so the order of CANDIDATES decides.
        best = max(values, key=lambda name: values[name])
        note = f"back_end=auto: {best}, pseudo AUC {100 * values[best]:.2f} %"
        found[machine] = (options[best], note)
    return found


def candidates(scoring: Scoring, embeddings: Embeddings) -> Iterator[tuple[str, Scoring]]:
    """Yields (name, scoring) of each candidate for a machine's embeddings."""
    layers = [""]
    if "layer" in embeddings.axes:
        # The mean over layers competes with each layer alone.
        layers = ["mean_score", *map(str, range(embeddings.vectors.shape[1]))]
    for layer in layers:
        for name, options in CANDIDATES.items():
            of_layer = {"layers": layer} if layer else {}
            title = f"{name}, layers {layer}" if layer else name
            yield title, dataclasses.replace(scoring, **options, **of_layer)


def pseudo_auc(
    embeddings: Embeddings, scoring: Scoring, others: Sequence[Embeddings] = (), *, seed: int = 0
) -> float:
    """Returns the AUC of pseudo-anomalies against normal clips, the mean over a machine's sections.

    The scores of normal clips come from banks without them. The pseudo-anomalies, put together:
    vectors whose every dimension comes from a random normal clip (feature); clips of the other
    domain, against one domain's bank alone (cross-domain); normal clips of other machines
    (cross-class); normal clips against banks without any clip of their attribute
    (cross-attribute). A normal clip that cannot be left out, because too few would remain, counts
    as more anomalous than all. The result is NaN if that is so for every clip.

    Args:
        embeddings: a machine's embeddings; only clips of split "train" are used.
        scoring: the scoring that is judged.
        others: embeddings of other machines; those of another shape are not used.
        seed: seed of the draws.

    Raises:
        InputError: the back end cannot be fitted to the clips.
    """
    train = embeddings[embeddings.split == "train"]
    strangers = [
        of[of.split == "train"]
        for of in others
        if of.axes == embeddings.axes and of.vectors.shape[1:] == embeddings.vectors.shape[1:]
    ]
    rng = np.random.default_rng(seed)
    values = [
        _of_section(train[train.section == section], scoring, strangers, rng)
        for section in sorted(set(train.section.tolist()))
    ]
    return float(np.mean(values)) if values else float("nan")


def _of_section(own, scoring, strangers, rng):
    domains = {d: own.domain == d for d in ("source", "target", "unknown")}
    windowed = own.window_start_seconds is not None
    clip = own.clip
    windows = {"train": {d: clip[rows] for d, rows in domains.items()}, "held_out": {}}
    scorer = SectionScorer.fit(
        {d: own.vectors[rows] for d, rows in domains.items()},
        scoring,
        axes=own.axes,
        windows=windows if windowed else None,
    )
    banks = scorer.self_scores
    # The other normalisations need test clips or held-out ones, which are not used here.
    mode = "none" if scoring.normalization == "none" else "train"
    statistics, _ = domain_statistics({}, {name: banks[name][name] for name in banks}, mode)

    def one_scale(scores):
        return normalized(scores, statistics, scoring.domains)

    def scored(vectors, number):
        return one_scale(scorer.bank_scores(vectors, number))

    normal = np.concatenate([one_scale(of) for of in banks.values()])
    mixed = _features(own.vectors, rng)
    # Feature.
    pseudo = [scored(mixed, np.arange(len(mixed)))]
    # Cross-class.
    for of in strangers:
        # The other machines share the number, so that this kind does not outweigh the others.
        some = _some_clips(of, _MOST // len(strangers), rng)
        pseudo.append(scored(some.vectors, some.clip))
    pseudo += [
        # Cross-domain: each clip against the bank of the other domain alone.
        normalized({name: scores}, statistics, "min")
        for clips, of in banks.items()
        for name, scores in of.items()
        if name != clips
    ]
    # Cross-attribute.
    without = scorer.self_scores_without(_attributes(own, scorer))
    pseudo += [one_scale(of) for of in without.values()]
    return _auc(normal, np.concatenate(pseudo))


def _features(vectors, rng):
    """Returns vectors whose every dimension comes from a random one of the given vectors."""
    flat = vectors.reshape(len(vectors), -1)
    count = min(len(flat), _MOST)
    # Each dimension keeps its distribution; only their combination is that of no normal clip.
    rows = rng.integers(len(flat), size=(count, flat.shape[1]))
    return np.take_along_axis(flat, rows, axis=0).reshape(count, *vectors.shape[1:])


def _some_clips(embeddings, most, rng):
    clips = np.unique(embeddings.clip)
    kept = rng.permutation(clips)[:most]
    return embeddings[np.isin(embeddings.clip, kept)]


def _attributes(own, scorer):
    """Returns {bank: number of each row's attribute}."""
    number = np.unique(own.attribute, return_inverse=True)[1]
    by_domain = {d: number[own.domain == d] for d in ("source", "target", "unknown")}
    if "pooled" in scorer.bank:
        return {"pooled": np.concatenate(list(by_domain.values()))}
    return {d: by_domain[d] for d in scorer.bank}


def _auc(normal, pseudo):
    pseudo = pseudo[~np.isnan(pseudo)]
    if np.isnan(normal).all() or not len(pseudo):
        return float("nan")
    # Otherwise a back end that needs more clips than a domain has would be rated by the rest.
    most = max(np.nanmax(normal), pseudo.max())
    normal = np.where(np.isnan(normal), most + 1, normal)
    label = np.repeat([0, 1], [len(normal), len(pseudo)])
    return auc(*tie_groups(label, np.concatenate([normal, pseudo])))
