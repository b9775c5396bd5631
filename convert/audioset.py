"""Applies the AudioSet classifier of a fine-tuned checkpoint, converted with --with_head."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from asd_jax.data.audio import read_clip
from asd_jax.models.eat import EAT
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import front_end_of_eat, load_encoder, read_weights


def load_classifier(path: str | Path) -> tuple[dict, float]:
    """Returns the parameters "fc_norm" and "head" of a weight file, and the eps of the norm.

    The eps is 1e-6 for fairseq and 1e-5 for Hugging Face.

    Raises:
        InputError: For the same reasons as `read_weights`, or because the file has no classifier.
    """
    tensors, header = read_weights(path)
    if "classifier" not in header:
        raise InputError(
            f"{path}: holds no classifier; convert a fine-tuned checkpoint with --with_head"
        )
    kept = {name: t for name, t in tensors.items() if name.startswith(("fc_norm/", "head/"))}
    return unflatten_dict(kept, sep="/"), header["classifier"]["eps"]


def audioset_logits(params: dict, tokens: Float[Array, "b n d"], eps: float) -> Float[Array, "b c"]:
    """Returns the logits "b c" of the AudioSet classes, computed from the CLS token of EAT's
    tokens.

    A sigmoid turns them into probabilities.
    """
    # fc_norm and head are applied to CLS alone, as in the public fine-tuned models.
    cls = nn.LayerNorm(eps).apply({"params": params["fc_norm"]}, tokens[:, 0])
    logits: Any = nn.Dense(params["head"]["bias"].size).apply({"params": params["head"]}, cls)
    return logits


def probabilities(weights: str | Path, recording: str | Path) -> Any:
    """Returns the probability of each class for a recording, "c".

    Raises:
        InputError: As for `load_classifier`, or the recording cannot be read.
    """
    head, eps = load_classifier(weights)
    sizes, params = load_encoder(weights)
    spectrogram = front_end_of_eat(weights, sizes).spectrogram(
        jnp.asarray(read_clip(recording))[None]
    )
    tokens = EAT(sizes).apply({"params": params}, spectrogram)[0]
    return np.asarray(jax.nn.sigmoid(audioset_logits(head, tokens, eps)[0]))
