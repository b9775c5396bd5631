"""Defines AdaProj: classification by the angle to the subspace of a class, with AdaCos' scale.

It can replace ArcFace.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asd_jax.models.adacos import initial_scale, next_scale
from asd_jax.models.arcface import unit

_FLOOR = 1e-12


class AdaProj(nn.Module):
    """Maps embeddings "b e" and soft labels "b c" to (logits, cosines), both "b c".

    Wilkinghoff, arXiv 2403.14179. Every class has several unit vectors. An embedding x is projected
    to P(x), the sum of these vectors, each times its cosine to x, scaled to length 1. The logit is
    the scale times the cosine of x and P(x). Each batch updates the scale as in AdaCos.

    Attributes:
        classes: number of classes c, at least 2.
        dimensions: vectors per class.
    """

    classes: int
    dimensions: int = 16

    @nn.compact
    def __call__(self, embeddings: Float[Array, "b e"], labels: Float[Array, "b c"]):
        shape = (self.classes, self.dimensions, embeddings.shape[-1])
        centres = self.param("centres", nn.initializers.normal(0.02), shape)
        start = initial_scale(self.classes)
        scale = self.variable("adacos", "scale", jnp.full, (), start, jnp.float32)
        cosine = projection_cosine(embeddings.astype(jnp.float32), centres)
        if self.is_mutable_collection("adacos") and not self.is_initializing():
            fixed = jax.lax.stop_gradient(cosine)[:, :, None]
            scale.value = next_scale(scale.value, fixed, labels, rule="public")
        return scale.value * cosine, cosine


def projection_cosine(
    x: Float[Array, "b e"], vectors: Float[Array, "c k e"]
) -> Float[Array, "b c"]:
    """Returns the cosine of each embedding and its projection onto the vectors of each class.

    The projection of x is y = W^T W x with the unit vectors W, so that <x, y> / |y| needs only the
    cosines W x and the products W W^T of a class's vectors.
    """
    x = unit(x)
    w = unit(vectors)
    # The k x k products of a class's vectors are small; a projection per clip and class is not.
    near = jnp.einsum("be,cke->bck", x, w, precision="highest")
    # Full float32, as TF32 would shift the angles.
    gram = jnp.einsum("cke,cle->ckl", w, w, precision="highest")
    square = jnp.einsum("bck,ckl,bcl->bc", near, gram, near, precision="highest")
    return (near**2).sum(-1) / jnp.sqrt(jnp.maximum(square, _FLOOR))
