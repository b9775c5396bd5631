"""The AudioSet classifier of fine-tuned checkpoints, kept by `python -m convert.eat
--with_head`.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import read_weights


def load_classifier(path: str | Path) -> tuple[dict, float]:
    """A weight file -> (parameters "fc_norm" and "head", the norm's eps: 1e-6 from fairseq, 1e-5
    from Hugging Face).

    Raises:
        InputError: as `read_weights`; or a file without classifier.
    """
    tensors, header = read_weights(path)
    if "classifier" not in header:
        raise InputError(
            f"{path}: holds no classifier; convert a fine-tuned checkpoint with --with_head"
        )
    kept = {name: t for name, t in tensors.items() if name.startswith(("fc_norm/", "head/"))}
    return unflatten_dict(kept, sep="/"), header["classifier"]["eps"]


def audioset_logits(params: dict, tokens: Float[Array, "b n d"], eps: float) -> Float[Array, "b c"]:
    """EAT's tokens -> logits per AudioSet class, from the CLS token; a sigmoid makes them
    probabilities.
    """
    cls = nn.LayerNorm(eps).apply({"params": params["fc_norm"]}, tokens[:, 0])
    logits: Any = nn.Dense(params["head"]["bias"].size).apply({"params": params["head"]}, cls)
    return logits
