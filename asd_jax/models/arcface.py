"""Defines ArcFace: classification with an additive angular margin (Deng et al., CVPR 2019).

It is used in training only.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

COSINE_LIMIT = 1 - 1e-6  # keeps the sine's gradient finite


class ArcFace(nn.Module):
    """Maps embeddings "b e" and soft labels "b c" to (logits, cosines), both "b c".

    Its parameters are one centre per class, or several, of which the nearest counts (sub-centre
    ArcFace; Deng et al., ECCV 2020).

    Attributes:
        classes: number of classes c, at least 2.
        scale: s.
        margin: m, in radians.
        subcentres: number of centres of each class; empty for one each.
    """

    classes: int
    scale: float = 30.0
    margin: float = 0.5
    subcentres: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, embeddings: Float[Array, "b e"], labels: Float[Array, "b c"]):
        # One centre each keeps the shape, and so the numbers, of the plain head.
        several = self.subcentres and max(self.subcentres) > 1
        count = sum(self.subcentres) if several else self.classes
        centres = self.param("centres", nn.initializers.normal(0.02), (count, embeddings.shape[-1]))
        # At least float32: in bfloat16, cosines near 1 are 0.004 apart, which is 0.09 rad of angle.
        cosine = cosine_similarity(
            embeddings.astype(jnp.promote_types(embeddings.dtype, jnp.float32)), centres
        )
        if several:
            cosine = cosine[:, _rows(self.subcentres)].max(-1)
        return arcface_logits(cosine, labels, scale=self.scale, margin=self.margin), cosine


def _rows(subcentres: tuple[int, ...]) -> np.ndarray:
    """Returns the rows of the centres of each class "c k"; a class's first fills up its row."""
    first = np.cumsum((0, *subcentres[:-1]))
    number = np.arange(max(subcentres))
    return first[:, None] + np.where(number < np.array(subcentres)[:, None], number, 0)


def cosine_similarity(x: Float[Array, "b e"], y: Float[Array, "c e"]) -> Float[Array, "b c"]:
    """Returns the cosines between rows, in full float32 (a TF32 product would move the margin)."""
    return jnp.matmul(unit(x), unit(y).T, precision="highest")


def arcface_logits(
    cosine: Float[Array, "b c"],
    labels: Float[Array, "b c"],
    *,
    scale: float = 30.0,
    margin: float = 0.5,
) -> Float[Array, "b c"]:
    """Returns the logits s cos(theta + m y) for cosines to the class centres.

    Each class's margin is m times its share y of the label, so with a hard label only the true
    class has a margin. Past theta = pi - m y, where the cosine would rise again, cos(theta) - m y
    sin(m y) keeps the logit monotonic.
    """
    # Before the root, whose slope is infinite where a cosine is 1.
    cosine = jnp.clip(cosine, -COSINE_LIMIT, COSINE_LIMIT)
    margins = margin * labels
    # cos(theta + m y) by the addition theorem, which needs no arccos.
    shifted = cosine * jnp.cos(margins) - jnp.sqrt(1 - cosine**2) * jnp.sin(margins)
    beyond = cosine < -jnp.cos(margins)
    return scale * jnp.where(beyond, cosine - margins * jnp.sin(margins), shifted)


def arcface_loss(logits: Float[Array, "b c"], labels: Float[Array, "b c"]) -> Float[Array, ""]:
    """Returns the soft cross-entropy, averaged over clips."""
    return optax.losses.softmax_cross_entropy(logits, labels).mean()


def unit(x: Float[Array, "*n e"]) -> Float[Array, "*n e"]:
    """Returns vectors scaled to length 1; a vector of zeros stays."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
