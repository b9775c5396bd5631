"""Defines LoRA: low-rank updates of frozen linear layers (Hu et al., ICLR 2022).

The updates are merged into the layers at the end of a run.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike

from asd_jax.models.settings import LoRA


class Dense(nn.Module):
    """Maps "... i" to "... o" by a linear layer, with a low-rank update if LoRA targets its name.

    Attributes:
        features: number of outputs o.
        dtype: the type to compute in.
        lora: the update, None if there is none.
    """

    features: int
    dtype: DTypeLike = jnp.float32
    lora: LoRA | None = None

    @nn.compact
    def __call__(self, x):
        inputs = x.shape[-1]
        x = x.astype(self.dtype)

        def param(name, init, *shape):
            return self.param(name, init, shape).astype(self.dtype)

        # BERT's initialisation, which EAT uses too.
        y = x @ param("kernel", nn.initializers.normal(0.02), inputs, self.features)
        y = y + jnp.broadcast_to(param("bias", nn.initializers.zeros, self.features), y.shape)
        if self.lora is None or self.name not in self.lora.targets:
            return y
        gain = {"he": 2.0, "peft": 1 / 3}[self.lora.init]  # the bound is sqrt(3 gain / inputs)
        uniform = nn.initializers.variance_scaling(gain, "fan_in", "uniform")
        a = param("lora_a", uniform, inputs, self.lora.rank)
        # With B = 0 the update starts at zero.
        b = param("lora_b", nn.initializers.zeros, self.lora.rank, self.features)
        # From the left, x @ a is narrow; a @ b would be as large as the kernel.
        return y + x @ a @ b * (self.lora.alpha / self.lora.rank)


def merge(params: dict, lora: LoRA) -> dict:
    """Returns the parameters of the same layers without LoRA: every kernel plus its update."""
    flat: dict[tuple, Any] = flatten_dict(params)
    # A copy, because the updates leave the dictionary.
    for *layer, name in list(flat):
        if name == "lora_a":
            a = flat.pop((*layer, "lora_a"))
            b = flat.pop((*layer, "lora_b"))
            # TF32 would change the merged weights noticeably, so the product uses full float32.
            update = jnp.matmul(a, b, precision="highest")
            flat[(*layer, "kernel")] = flat[(*layer, "kernel")] + lora.alpha / lora.rank * update
    return unflatten_dict(flat)
