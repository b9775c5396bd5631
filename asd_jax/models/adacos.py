"""Defines AdaCos and sub-cluster AdaCos: cosine classification with an adaptive scale.

They can replace ArcFace.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asd_jax.models.arcface import COSINE_LIMIT, cosine_similarity


class AdaCos(nn.Module):
    """Maps embeddings "b e" and soft labels "b c" to (logits, cosines), both "b c", without a
    margin.

    Zhang et al., CVPR 2019. With several centres per class it is sub-cluster AdaCos (Wilkinghoff,
    IJCNN 2021): a class's probability is the sum over its centres of a softmax over all centres.
    Each batch updates the scale, which is kept in the variable "adacos/scale": to train, apply the
    module with mutable=["adacos"].

    Attributes:
        classes: number of classes c, at least 2.
        subclusters: centres per class.
        scale_rule: how the scale is computed, see `next_scale`.
    """

    classes: int
    subclusters: int = 1
    scale_rule: str = "nearest"

    @nn.compact
    def __call__(self, embeddings: Float[Array, "b e"], labels: Float[Array, "b c"]):
        shape = (self.classes * self.subclusters, embeddings.shape[-1])
        # Centres are scaled to length 1, so only their directions matter.
        centres = self.param("centres", nn.initializers.normal(0.02), shape)
        start = initial_scale(*shape[:1])
        scale = self.variable("adacos", "scale", jnp.full, (), start, jnp.float32)
        cosine = cosine_similarity(embeddings.astype(jnp.float32), centres)
        # The centres of a class lie one after the other.
        cosine = cosine.reshape(-1, self.classes, self.subclusters)
        if self.is_mutable_collection("adacos") and not self.is_initializing():
            # The scale follows the batch, and is not learnt by gradients.
            cosines = jax.lax.stop_gradient(cosine)
            scale.value = next_scale(scale.value, cosines, labels, rule=self.scale_rule)
        return jax.nn.logsumexp(scale.value * cosine, axis=-1), cosine.max(-1)


def initial_scale(centres: int) -> float:
    """Returns the fixed scale sqrt(2) log(centres - 1), but at least that of three centres.

    With two centres the formula would give 0.
    """
    return math.sqrt(2) * math.log(max(centres - 1, 2))


def next_scale(
    scale: Float[Array, ""],
    cosine: Float[Array, "b c k"],
    labels: Float[Array, "b c"],
    *,
    rule: str = "nearest",
) -> Float[Array, ""]:
    """Returns the next scale, log(B) / cos(min(pi / 4, median)), from a batch's cosines to all
    centres.

    B is the batch's mean of the sum of exp(scale cos): over the other classes in AdaCos (k = 1),
    over all centres in sub-cluster AdaCos. The median is that of the clips' angles to their class,
    measured to the nearest of its centres; the angle of a mixed clip is the mean weighted by its
    labels.

    With rule="public" it is the scale of public systems (Wilkinghoff's, MERL's, ASDKit's): the
    angle is the sum of the angles to all centres of a class, and in AdaCos a clip's own class
    counts as exp(0) in the sum instead of being left out.
    """
    if rule == "public":
        return _public_scale(scale, cosine, labels)
    # In AdaCos the sum omits a clip's own class, in proportion to its label.
    others = jnp.log(jnp.maximum(1 - labels, 1e-12))[:, :, None] if cosine.shape[-1] == 1 else 0.0
    log_sums = jax.nn.logsumexp(scale * cosine + others, axis=(1, 2))
    # In logarithms, as exp(scale cos) may exceed float32 where the scale is large.
    log_mean = jax.nn.logsumexp(log_sums) - math.log(len(cosine))
    # arccos has an infinite slope at 1.
    angle = jnp.arccos(jnp.clip(cosine.max(-1), -COSINE_LIMIT, COSINE_LIMIT))
    median = jnp.median((labels * angle).sum(-1))
    # With two classes that are far apart, B falls below 1 and its logarithm below 0.
    return jnp.maximum(log_mean, 0.1) / jnp.cos(jnp.minimum(math.pi / 4, median))


def _public_scale(scale, cosine, labels):
    logits = scale * cosine
    if cosine.shape[-1] == 1:
        # exp(0) for a clip's own class, as the public systems have it.
        logits = jnp.where(labels[:, :, None] < 1, logits, 0.0)
    log_mean = jax.nn.logsumexp(logits) - math.log(len(cosine))
    angle = jnp.arccos(jnp.clip(cosine, -COSINE_LIMIT, COSINE_LIMIT)).sum(-1)
    median = jnp.median((labels * angle).sum(-1))
    return jnp.maximum(log_mean / jnp.cos(jnp.minimum(math.pi / 4, median)), 1e-12)
