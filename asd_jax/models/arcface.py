"""ArcFace: classification with an additive angular margin, for training only (Deng et al., CVPR
2019).
"""

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

COSINE_LIMIT = 1 - 1e-6  # keeps the sine's gradient finite


class ArcFace(nn.Module):
    """Embeddings "b e" and soft labels "b c" -> (logits, cosines), both "b c"; holds one centre per
    class.

    Attributes:
        classes: number of classes c, at least 2.
        scale: s.
        margin: m, in radians.
    """

    classes: int
    scale: float = 30.0
    margin: float = 0.5

    @nn.compact
    def __call__(self, embeddings: Float[Array, "b e"], labels: Float[Array, "b c"]):
        centres = self.param(
            "centres", nn.initializers.normal(0.02), (self.classes, embeddings.shape[-1])
        )
        cosine = cosine_similarity(
            embeddings.astype(jnp.promote_types(embeddings.dtype, jnp.float32)), centres
        )
        return arcface_logits(cosine, labels, scale=self.scale, margin=self.margin), cosine


def cosine_similarity(x: Float[Array, "b e"], y: Float[Array, "c e"]) -> Float[Array, "b c"]:
    """Cosines between rows, in full float32 (a TF32 product would move the margin)."""
    return jnp.matmul(_unit(x), _unit(y).T, precision="highest")


def arcface_logits(
    cosine: Float[Array, "b c"],
    labels: Float[Array, "b c"],
    *,
    scale: float = 30.0,
    margin: float = 0.5,
) -> Float[Array, "b c"]:
    """Cosines to the class centres -> s cos(theta + m y): each class's margin is its share y of the
    label.

    With a hard label the margin is on the true class only. Past theta = pi - m y, where the cosine
    would rise again, cos(theta) - m y sin(m y) keeps it monotonic.
    """
    cosine = jnp.clip(cosine, -COSINE_LIMIT, COSINE_LIMIT)
    margins = margin * labels
    shifted = cosine * jnp.cos(margins) - jnp.sqrt(1 - cosine**2) * jnp.sin(margins)
    beyond = cosine < -jnp.cos(margins)
    return scale * jnp.where(beyond, cosine - margins * jnp.sin(margins), shifted)


def arcface_loss(logits: Float[Array, "b c"], labels: Float[Array, "b c"]) -> Float[Array, ""]:
    """Soft cross-entropy, mean over clips."""
    return optax.losses.softmax_cross_entropy(logits, labels).mean()


def _unit(x):
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
