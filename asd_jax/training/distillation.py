"""Trains a small EAT to predict the outputs of larger encoders, its teachers (Hinton et al. 2015).

The student gets a mixture whose level and colour were changed, with some patches hidden, and
predicts the teachers' frames for the unchanged mixture through one linear layer per teacher. The
layers are dropped afterwards.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.models.arcface import unit
from asd_jax.models.decoder import TeacherHeads
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.runtime.errors import InputError

LEAST_DEVIATION = 1e-6  # of unit vectors, below which they are all the same


@dataclasses.dataclass(frozen=True)
class TargetScale:
    """The map from a teacher's frames to targets of mean 0 and mean square 1 over many sounds.

    Frames are compared in direction alone, as by the cosine distance: their length tells little
    but loudness. One factor scales all values, so that targets keep the teacher's distances.
    Standardising each value by itself would amplify values that hardly vary (measured: a student
    of YAMNet then explains .05 of the targets' variance, and otherwise .10).

    Attributes:
        name: of the teacher.
        mean: mean "e" of its unit vectors.
        deviation: root mean square distance of its unit vectors from their mean, per value.
    """

    name: str
    mean: Float[np.ndarray, "e"] = dataclasses.field(repr=False)
    deviation: float

    @property
    def width(self) -> int:
        """Number of values e of a frame."""
        return len(self.mean)

    def scaled(self, target: Float[Array, "b t e"]) -> Float[Array, "b t e"]:
        """Returns a teacher's frames as targets."""
        return (unit(target) - jnp.asarray(self.mean)[None, None]) / self.deviation


def target_scales(names: Sequence[str], batches: Iterable[dict]) -> tuple[TargetScale, ...]:
    """Returns the scale of each teacher's values, measured on batches with `target_N`, `known_N`.

    Raises:
        InputError: a teacher has no target for any sound, or the same one for all.
    """
    if not names:
        return ()
    frames: list[list[np.ndarray]] = [[] for _ in names]
    for batch in batches:
        for n, found in enumerate(frames):
            target = np.asarray(batch[f"target_{n}"])[np.asarray(batch[f"known_{n}"]) > 0]
            found.append(target.reshape(-1, target.shape[-1]))
    return tuple(_scale(name, found) for name, found in zip(names, frames, strict=True))


def _scale(name: str, parts: Sequence[np.ndarray]) -> TargetScale:
    if not any(map(len, parts)):
        raise InputError(f"pretraining.teachers: {name} has no targets for these recordings")
    if len(widths := sorted({part.shape[1] for part in parts})) > 1:
        raise InputError(
            f"pretraining.teachers: {name} gives frames of {widths[0]} and of {widths[1]} values; "
            "their number must not depend on the length of the sound"
        )
    # float64, as the mean of many frames loses digits in float32.
    frames = np.asarray(unit(jnp.asarray(np.concatenate(parts))), np.float64)
    mean = frames.mean(0)
    deviation = float(np.sqrt(np.square(frames - mean).mean()))
    if deviation < LEAST_DEVIATION:
        raise InputError(f"pretraining.teachers: {name} gives the same frame for every sound")
    return TargetScale(name, mean.astype(np.float32), deviation)


def initial_heads(config: EATConfig, scales: Sequence[TargetScale], key: jax.Array) -> dict:
    """Returns random parameters of the layers that predict the teachers' frames."""
    # One token is enough: the shapes of the parameters depend on widths alone.
    tokens = jnp.zeros((1, 1, config.embed_dim))
    kept = jnp.zeros((1, 1), jnp.int32)
    places = tokens, kept, 1, config.mel_bins // PATCH
    heads = TeacherHeads(tuple((1, scale.width) for scale in scales))
    return heads.init(key, *places)["params"]


def distillation_losses(
    config: EATConfig,
    scales: Sequence[TargetScale],
    params: dict,
    spectrogram: Float[Array, "b t f"],
    kept: Int[Array, "b m k"],
    batch: dict,
    dtype: DTypeLike = jnp.float32,
) -> tuple[Float[Array, ""], dict]:
    """Returns the loss to minimise and the metrics.

    The loss is the mean squared error of the scaled frames, summed over teachers. The metric
    `explained_N` is the share of it that the student saves over predicting teacher N's mean frame.

    Args:
        config: sizes of the student.
        scales: of each teacher's values.
        params: {"eat": the student, "decoder": as `initial_heads`}.
        spectrogram: normalised; a whole number of patches.
        kept: indices of the patches that each view keeps.
        batch: `target_N` "b t e", and `known_N` "b": 0 where teacher N has no target for a clip.
        dtype: the type to compute in.
    """
    times = spectrogram.shape[1] // PATCH
    bands = config.mel_bins // PATCH
    views = kept.shape[1]
    student: Any = EAT(config, dtype).apply({"params": params["eat"]}, spectrogram, kept)[0]
    # Token 0 is CLS, which has no place in the grid.
    places = student[:, 1:], kept.reshape(-1, kept.shape[2]), times, bands
    shapes = tuple(batch[f"target_{n}"].shape[1:] for n in range(len(scales)))
    predicted: Any = TeacherHeads(shapes, dtype).apply({"params": params["decoder"]}, *places)
    loss = jnp.zeros(())
    parts: dict[str, Array] = {}
    variances = []
    for n, (scale, prediction) in enumerate(zip(scales, predicted, strict=True)):
        # The loss adds many values, for which bfloat16 has too few digits.
        prediction = prediction.astype(jnp.float32)
        target = jnp.repeat(scale.scaled(batch[f"target_{n}"]), views, axis=0)
        known = jnp.repeat(batch[f"known_{n}"], views)
        error = _error(prediction, target, known)
        # Scaled targets have the mean 0: this is the error of predicting their mean.
        nothing = _error(jnp.zeros_like(target), target, known)
        loss += error
        # A divisor of 0 would give NaN, even in the branch that is not taken.
        parts[f"explained_{n}"] = jnp.where(nothing > 0, 1 - error / jnp.maximum(nothing, 1e-6), 0)
        variances.append(prediction.var((0, 1)).mean())
    # The targets are fixed and cannot collapse, so only the predictions are watched. They exist for
    # every clip, whether it has a target or not.
    return loss, {"prediction_spread": jnp.sqrt(jnp.stack(variances)).mean(), **parts}


def _error(prediction, target, known):
    """Returns the mean squared error over the clips that have a target; 0 if none has."""
    # The floor of 1 gives 0 instead of NaN if no clip has a target.
    weight = known[:, None, None] / jnp.maximum(known.sum() * target.shape[1], 1)
    return (weight * jnp.square(prediction - target)).sum((0, 1)).mean()
