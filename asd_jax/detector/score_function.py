"""Turns a fitted detector into one JAX function from windows to scores.

It computes the same scores as `Detector.process`, fused into one, in float32.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asd_jax.detector.detector import Detector
from asd_jax.detector.views import traced_views
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import POWER
from asd_jax.scoring.back_ends.local_density import sparsity
from asd_jax.scoring.back_ends.mahalanobis import shrunk_covariance
from asd_jax.scoring.back_ends.pca_residual import principal_components
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation
from asd_jax.scoring.scorers import prepared

Score = Callable[[Float[Array, "n e"]], Float[Array, "n"]]


def score_function(detector: Detector) -> Callable[[Float[Array, "b s"]], Float[Array, "b"]]:
    """Returns a JAX function from windows "b s" to scores "b".

    The windows must have the sampling rate and the length that the detector uses.

    Raises:
        InputError: a back end of the detector cannot be expressed in JAX, or the detector is
            adapted to one session.
    """
    bank = detector.bank
    pipeline = detector.pipeline
    config, params = (pipeline.config, pipeline.params) if pipeline is not None else (None, {})
    # The list has an entry for each domain and scorer that votes.
    scorers = []
    # Undoing a colour takes a filter of the waveform, which the function does not have.
    if detector.colour:
        raise InputError("a detector that is adapted to one session cannot be exported")
    for scorer in bank.voting:
        view, scoring = bank.scorers[scorer]
        prepare, training = prepared(scoring, *bank.training(view), bank.domains)
        # Each domain has a bank of its own, and so a fit and statistics of its own.
        for name, vectors in training.items():
            score = _back_end(scoring, vectors.reshape(len(vectors), -1))
            usual, deviation = bank.standardization.statistics[scorer][name]
            scale = deviation * bank.standardization.scale[name]
            scorers.append((name, view, prepare, score, usual, scale))

    def function(wave):
        views = traced_views(config, params, wave)
        by_domain: dict[str, list[jax.Array]] = {}
        for domain, view, prepare, score, usual, scale in scorers:
            standardized = (score(_prepared(prepare, views[view])) - usual) / scale
            by_domain.setdefault(domain, []).append(standardized)
        # A sound that is normal in one domain is normal.
        return jnp.stack([_fused(jnp.stack(scores)) for scores in by_domain.values()]).min(0)

    return function


def _fused(scores):
    """Returns the same as `fused`, for scores "j b"."""
    above = jnp.maximum(scores, 0)
    # Relative to the highest score, the powers cannot overflow.
    highest = jnp.maximum(above.max(0), jnp.finfo(scores.dtype).tiny)
    mean = jax.lax.integer_pow(above / highest[None], POWER).mean(0)
    # exp and log, because jnp.power does not convert to ONNX when the number of clips is open.
    mean = jnp.exp(jnp.log(mean) / POWER)
    return jnp.where(above.max(0) > 0, highest * mean, scores.max(0))


def _prepared(prepare: Preparation, vectors):
    """Returns vectors "n e" of vectors "n ...", as `Preparation` without layers and whitening."""
    x = vectors[:, None] if vectors.ndim == 2 else vectors
    mean, std = (
        jnp.broadcast_to(jnp.asarray(array, x.dtype), x.shape[1:])[None]
        for array in (prepare.mean, prepare.std)
    )
    x = (x - mean) / std
    x = _unit(x) if prepare.unit_length and x.shape[1] > 1 else x
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])


def _back_end(scoring: Scoring, vectors) -> Score:
    """Returns the scores of a back end that is fitted to vectors "r e"."""
    back_ends = {
        "pca_residual": _pca_residual,
        "mahalanobis": _mahalanobis,
        "local_density": _local_density,
    }
    # Detectors use these options only; the others have no JAX version.
    plain = scoring.k == 1 and scoring.distance != "unit_euclidean" and not scoring.whiten
    if scoring.back_end not in back_ends or not plain:
        raise InputError(
            f"a detector with back end {scoring.back_end} (whiten {scoring.whiten}, k {scoring.k}, "
            f"distance {scoring.distance}) cannot be exported"
        )
    return back_ends[scoring.back_end](scoring, vectors)


def _pca_residual(scoring: Scoring, vectors) -> Score:
    """Returns the distance to the subspace of the principal components."""
    fitted = principal_components(vectors, scoring.components)
    mean, axes = (jnp.asarray(array, jnp.float32) for array in fitted)

    def residual(x):
        x = x - mean[None]
        explained = jnp.matmul(
            jnp.matmul(x, axes.T, precision="highest"), axes, precision="highest"
        )
        return jnp.sqrt(jnp.square(x - explained).sum(1))

    return residual


def _mahalanobis(scoring: Scoring, vectors) -> Score:
    """Returns the Mahalanobis distance to the mean."""
    fitted = shrunk_covariance(vectors, scoring.shrinkage or None)
    centre, directions, inside, rest = (jnp.asarray(array, jnp.float32) for array in fitted)

    def distance(x):
        x = x - centre[None]
        along = jnp.matmul(x, directions.T, precision="highest")
        outside = jnp.square(x - jnp.matmul(along, directions, precision="highest")).sum(1)
        return jnp.sqrt((jnp.square(along) / inside[None]).sum(1) + outside / rest)

    return distance


def _local_density(scoring: Scoring, vectors) -> Score:
    """Returns the distance to the nearest vector, relative to the distances around that vector."""
    cosine = scoring.distance == "cosine"
    scale = jnp.asarray(sparsity(vectors, scoring.distance, scoring.density_k), jnp.float32)
    bank = jnp.asarray(vectors, jnp.float32)
    # Between unit vectors, the squared distance is twice the cosine distance.
    bank = _unit(bank) if cosine else bank

    def density(x):
        x = _unit(x) if cosine else x
        # The expansion |x|^2 + |b|^2 - 2xb has large rounding errors, so it is used only to find
        # the nearest row. The distance to that row is then computed exactly.
        products = jnp.matmul(x, bank.T, precision="highest")
        square = jnp.square(x).sum(1, keepdims=True) + jnp.square(bank).sum(1)[None] - 2 * products
        row = jnp.argmin(square / (scale if cosine else jnp.square(scale))[None], axis=1)
        exact = jnp.square(x - jnp.take(bank, row, axis=0)).sum(1)
        return (exact / 2 if cosine else jnp.sqrt(exact)) / jnp.take(scale, row)

    return density


def _unit(x):
    """Returns vectors scaled to length 1; a vector of zeros stays as it is."""
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(length > 0, length, 1)
