"""Determines what a checkpoint's tensors must look like: EAT's sizes, the shape of every parameter
and the position table.
"""

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import PATCH, EATConfig, position_table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked
from asd_jax.training.weights import abstract_eat
from convert.checkpoint import Checkpoint, encoder_settings
from convert.table import POSITIONS, looks_like

# bfloat16 rounds the table by 2e-3, float16 by 2.5e-4.
POSITION_TOLERANCE = 1e-2
# The public code allows other values of these settings, but our encoder does not.
FIXED = {
    "layer_norm_first": False,
    "norm_affine": True,
    "norm_eps": 1e-6,
    "qkv_bias": True,
    "patch_size": 16,
    "stride": 16,
    "in_chans": 1,
    "fixed_positions": True,
    "num_extra_tokens": 1,
    "prenet_depth": 0,
    "use_alibi_encoder": False,
}


def sizes(
    checkpoint: Checkpoint, tensors: Mapping[str, Any], heads: int | None = None
) -> tuple[EATConfig, FrontEnd]:
    """Returns the sizes of the encoder and its front end, from the tensors where possible and
    otherwise from the settings.

    `heads` is the number of attention heads, needed where there are no settings.

    Raises:
        InputError: The checkpoint is not an EAT, its sizes are invalid, or its settings contradict
            the tensors or our encoder.
    """
    path = checkpoint.path
    settings = encoder_settings(checkpoint.settings or {})
    # The settings count the blocks; without them, the names of the tensors do.
    depth = settings.get("depth")
    if type(depth) is not int:
        # At most four digits, so that a hostile name cannot ask for any number of blocks.
        blocks = [re.match(r"blocks\.(\d{1,4})\.", name) for name in tensors]
        depth = 1 + max((int(block[1]) for block in blocks if block), default=0)
    # One tensor that is there tells the size, so that all that are missing can be listed.
    width = _length(tensors, r"local_encoder\.proj\.(weight|bias)|blocks\.\d+\.norm1\.weight")
    hidden = _length(tensors, r"blocks\.\d+\.mlp\.fc1\.(weight|bias)")
    if not width or not hidden:
        raise InputError(f"{path}: no EAT: {looks_like(tensors)}")
    # Settings that are absent count as right.
    for name, wanted in {**FIXED, "embed_dim": width, "mlp_ratio": hidden / width}.items():
        if settings.get(name, wanted) != wanted:
            reads = "our encoder knows" if name in FIXED else "the tensors have"
            raise InputError(
                f"{path}: the settings say {name}={reprlib.repr(settings[name])}, but {reads} "
                f"only {wanted}"
            )
    heads = _heads(checkpoint, settings, width, heads)
    # All public EATs have 128 filters.
    mel_bins = settings.get("mel_bins", 128)
    try:
        mel = {"spacing": "mel", "bins": mel_bins, "simam": {"mode": "none"}}
        front_end = build_checked(FrontEnd, settings.get("asd_jax_front_end") or mel)
        if front_end.bins != mel_bins:
            raise ValueError(f"the front end has {front_end.bins} filters, the encoder {mel_bins}")
        found = (width, depth, heads, hidden / width, mel_bins)
        names = (field.name for field in dataclasses.fields(EATConfig))
        return build_checked(EATConfig, dict(zip(names, found, strict=True))), front_end
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _length(tensors: Mapping[str, Any], pattern: str) -> int:
    """Returns the length of the first axis of the first tensor whose name fits; 0 without one."""
    for name, tensor in tensors.items():
        if re.fullmatch(pattern, name):
            return next(iter(tensor.shape), 0)
    return 0


def _heads(
    checkpoint: Checkpoint, settings: Mapping[str, Any], width: int, given: int | None
) -> Any:
    heads = settings.get("num_heads", given)
    if given is not None and heads != given:
        raise InputError(
            f"{checkpoint.path}: --heads={given}, but the settings say num_heads={heads}"
        )
    if heads is None and checkpoint.layout == "huggingface" and checkpoint.settings is not None:
        heads = 12  # the public code's default
    elif heads is None and checkpoint.layout == "fairseq":
        # The public sizes.
        heads = {768: 12, 1024: 16}.get(width)
    if heads is None:
        raise InputError(
            f"{checkpoint.path}: nothing says how many attention heads the model has: put the "
            "model's config.json beside it (num_heads), or give --heads=N (EAT-base has 12, "
            "EAT-large 16)"
        )
    return heads


def encoder_template(config: EATConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter of the encoder, by our names."""
    leaves: dict[str, Any] = flatten_dict(abstract_eat(config), sep="/")
    return {name: leaf.shape for name, leaf in leaves.items()}


def decoder_template(
    path: Path, tensors: Mapping[str, Any], layers: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter of the decoder, by our names.

    All layers have the kernel size and groups of the first one.

    Raises:
        InputError: The file has no decoder.
    """
    shape = (
        tensors["decoder.blocks.0.0.weight"].shape if "decoder.blocks.0.0.weight" in tensors else ()
    )
    if len(shape) != 4 or not shape[1] or shape[0] % shape[1]:
        raise InputError(
            f"{path}: --with_decoder: the file holds no decoder (only fairseq's pre-training "
            "files do)"
        )
    # torch's order: outputs, inputs per group, height, width.
    d, per_group, k, _ = shape
    template = {f"decoder/conv_{i}/kernel": (k, k, per_group, d) for i in range(layers)}
    template |= {f"decoder/conv_{i}/bias": (d,) for i in range(layers)}
    return template | {"decoder/out/kernel": (d, d), "decoder/out/bias": (d,)}


def head_template(path: Path, tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter of the AudioSet classifier, by our names.

    Raises:
        InputError: The file has no classifier.
    """
    shape = tensors["head.weight"].shape if "head.weight" in tensors else ()
    if len(shape) != 2:
        raise InputError(
            f"{path}: --with_head: the file holds no classifier (only fine-tuned checkpoints do)"
        )
    classes, d = shape
    return {
        "fc_norm/scale": (d,),
        "fc_norm/bias": (d,),
        "head/kernel": (d, classes),
        "head/bias": (classes,),
    }


def position_difference(path: Path, tensors: Mapping[str, Any], config: EATConfig) -> float | None:
    """Returns the largest difference between the stored position table and ours, or None if the
    file has none.

    Raises:
        InputError: The table differs, so the checkpoint has another grid or order of patches than
            ours.
    """
    if POSITIONS not in tensors:
        return None
    stored = tensors[POSITIONS]
    bands = config.mel_bins // PATCH
    rows = stored.shape[1] if len(stored.shape) == 3 else 0
    if not rows or stored.shape != (1, rows, config.embed_dim) or rows % bands:
        wanted = f"(1, n * {bands}, {config.embed_dim})"
        raise InputError(f"{path}: {POSITIONS} has shape {tuple(stored.shape)}, expected {wanted}")
    ours = position_table(config.embed_dim, rows // bands, bands)
    difference = float(np.abs(stored.read()[0].astype(np.float32) - ours).max())
    # Written so that NaN is refused, too.
    if not difference <= POSITION_TOLERANCE:
        raise InputError(
            f"{path}: {POSITIONS} differs by {difference:.3g} from EAT's fixed table; another "
            "model?"
        )
    return difference
