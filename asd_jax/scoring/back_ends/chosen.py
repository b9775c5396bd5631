"""Fits the back end that the options choose by name."""

import functools

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.band_matching import band_matching
from asd_jax.scoring.back_ends.fitted import Bank, Fitted
from asd_jax.scoring.back_ends.fusion import fuse, on_columns
from asd_jax.scoring.back_ends.gmm import gmm
from asd_jax.scoring.back_ends.k_means import k_means
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.local_density import local_density
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis
from asd_jax.scoring.back_ends.mem_mixup import mem_mixup
from asd_jax.scoring.back_ends.own import own_back_end
from asd_jax.scoring.back_ends.pca_residual import pca_residual
from asd_jax.scoring.back_ends.smote import smote
from asd_jax.scoring.back_ends.varmin import varmin
from asd_jax.scoring.options import AUTO, Scoring


def _knn(bank, s, parts):
    return knn(bank, distance=s.metric, k=s.k, on_device=s.on_device)


def _smote(bank, s, parts):
    return smote(
        bank, distance=s.metric, k=s.k, ratio=s.smote_ratio, smote_k=s.smote_k, seed=s.seed
    )


def _mem_mixup(bank, s, parts):
    return mem_mixup(bank, distance=s.metric, k=s.k, mixup_k=s.mixup_k, weight=s.mixup_weight)


BACK_ENDS = {  # name -> function of (bank, Scoring, number of bands in a vector)
    "knn": _knn,
    "smote": _smote,
    "mem_mixup": _mem_mixup,
    "k_means": lambda bank, s, parts: k_means(
        bank, distance=s.metric, centres=s.centres, seed=s.seed
    ),
    "local_density": lambda bank, s, parts: local_density(
        bank, distance=s.metric, k=s.density_k, neighbours=s.k
    ),
    # 0 in the options stands for Ledoit and Wolf's estimate, which the back end calls None.
    "mahalanobis": lambda bank, s, parts: mahalanobis(bank, shrinkage=s.shrinkage or None),
    "pca_residual": lambda bank, s, parts: pca_residual(bank, components=s.components),
    "gmm": lambda bank, s, parts: gmm(bank, components=s.mixture, seed=s.seed),
    "varmin": lambda bank, s, parts: varmin(
        bank,
        distance=s.metric,
        k=s.density_k,
        in_log=s.varmin_log,
        bands=parts if s.varmin_by_band else 1,
    ),
    "band_matching": lambda bank, s, parts: band_matching(
        bank, bands=parts, distance=s.metric, k=s.k
    ),
}


def _fit_one(name: str, bank: Bank, scoring: Scoring, parts: int) -> Fitted:
    if name in BACK_ENDS:
        return BACK_ENDS[name](bank, scoring, parts)
    return own_back_end(bank, name)


def fit_back_end(
    bank: Bank, scoring: Scoring, axes: tuple[str, ...], groups: Bank | None = None
) -> Fitted:
    """Returns the fitted back end, including fusion and the average over layers.

    Args:
        bank: prepared vectors {domain: "r p c"}, with p bands or layers.
        scoring: options.
        axes: meaning of the axes of the embeddings, see `Embeddings`.
        groups: {domain: "r"}, clips with the same number are left out together for self-scores.

    Raises:
        InputError: the back end rejects the bank or its options.
    """
    parts = next(iter(bank.values())).shape[1]
    bank = {domain: vectors.reshape(len(vectors), -1) for domain, vectors in bank.items()}
    names = scoring.back_end.split("+")
    if scoring.back_end == AUTO:
        raise InputError(
            "back_end=auto is not fitted itself: asd_jax.scoring.automatic.chosen_scoring chooses "
            "a back end for each machine; name one here"
        )

    def fit(bank, parts=parts):
        if len(names) == 1:
            return _fit_one(names[0], bank, scoring, parts)
        # The default argument keeps each round's name; a plain lambda would see the last one.
        fits = [lambda b, n=name: _fit_one(n, b, scoring, parts) for name in names]
        return fuse(bank, fits, fusion=scoring.fusion, groups=groups)

    if "layer" not in axes or parts == 1:
        return fit(bank)
    width = next(iter(bank.values())).shape[1] // parts
    # A layer's vector has no bands.
    one = functools.partial(fit, parts=1)
    layers = [on_columns(one, slice(i * width, (i + 1) * width)) for i in range(parts)]
    # Layers are averaged whatever `fusion` says, which is about back ends.
    return fuse(bank, layers, fusion="mean", groups=groups)
