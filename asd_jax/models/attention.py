"""Defines trainable attention on the spectrogram, as alternatives to which SimAM is compared."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Attention = Literal["none", "se", "cbam", "spatial"]
ATTENTIONS: tuple[Attention, ...] = ("none", "se", "cbam", "spatial")
REDUCTION = 16  # divides the hidden width; the default of both papers
KERNEL = 7  # edge of the kernel of CBAM's spatial part; the default of its paper


class SpectrogramAttention(nn.Module):
    """Maps a spectrogram "b t f" to the same shape, each cell times a learnt weight in (0, 1).

    A spectrogram has one channel, so the filters take the role of the channels in the first two
    kinds. "se" is squeeze and excitation (Hu et al., CVPR 2018): a weight per filter from the
    filters' means over time. "cbam" (Woo et al., ECCV 2018) has a weight per filter from means and
    maxima over time, then a weight per frame from the frames' means and maxima. "spatial" has a
    weight per cell from the 7 x 7 cells around it.

    Attributes:
        kind: "se", "cbam" or "spatial".
    """

    kind: str

    @nn.compact
    def __call__(self, x: Float[Array, "b t f"]) -> Float[Array, "b t f"]:
        filters = x.shape[-1]
        hidden = nn.Dense(max(filters // REDUCTION, 1), name="squeeze")
        excite = nn.Dense(filters, name="excite")
        if self.kind == "se":
            return x * jax.nn.sigmoid(excite(jax.nn.relu(hidden(x.mean(1)))))[:, None]
        if self.kind == "cbam":
            # Means and maxima go through the same two layers, as in the paper.
            mean, largest = (
                excite(jax.nn.relu(hidden(pooled))) for pooled in (x.mean(1), x.max(1))
            )
            x = x * jax.nn.sigmoid(mean + largest)[:, None]
            # The frames are weighted after the filters, as in the paper.
            frames = jnp.stack([x.mean(-1), x.max(-1)], axis=-1)
            return x * jax.nn.sigmoid(nn.Conv(1, (KERNEL,), name="spatial")(frames))
        return x * jax.nn.sigmoid(
            nn.Conv(1, (KERNEL, KERNEL), name="spatial")(x[..., None])[..., 0]
        )
