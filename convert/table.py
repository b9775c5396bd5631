"""Maps the public names of EAT's parameters to ours, and checks that no tensor is lost in a
conversion.

The names on the left are those of the Hugging Face files without their `model.` prefix; fairseq's
names differ in two parts. Rows with `{i}` apply to every block or layer.
"""

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from asd_jax.runtime.errors import InputError

# What wrappers of a model add to the names: torch.compile and FSDP anywhere, others before them.
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")
PREFIXES = ("module.", "model.")
FAIRSEQ_PARTS = (("modality_encoders.IMAGE.", ""), ("context_encoder.norm.", "pre_norm."))


class Transform(NamedTuple):
    """A lossless change of layout and its inverse."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_public: Callable[[np.ndarray], np.ndarray]

    def public_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the public shape for a shape of ours; takes no memory."""
        return self.to_public(np.broadcast_to(np.float32(0), shape)).shape


SAME = Transform(lambda x: x, lambda x: x)
# torch stores a matrix as (out, in), flax as (in, out).
TRANSPOSE = Transform(np.transpose, np.transpose)
# The public CLS token has two leading axes of length 1.
TOKEN = Transform(lambda x: x[0, 0], lambda x: x[None, None])
# The public code embeds patches by a convolution, ours by a matrix product.
PATCHES = Transform(
    lambda x: x.reshape(len(x), -1).T,
    # Patches are square.
    lambda x: x.T.reshape(x.shape[1], 1, *2 * [math.isqrt(len(x))]),
)
# torch stores a convolution as (out, in, height, width), flax as (height, width, in, out).
CONVOLUTION = Transform(lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))


def _layer(public: str, ours: str, transform: Transform = TRANSPOSE, weight: str = "kernel"):
    return (f"{public}.weight", f"{ours}/{weight}", transform), (
        f"{public}.bias",
        f"{ours}/bias",
        SAME,
    )


ENCODER = (
    ("extra_tokens", "cls", TOKEN),
    *_layer("local_encoder.proj", "patch", PATCHES),
    *_layer("pre_norm", "pre_norm", SAME, "scale"),
    *_layer("blocks.{i}.norm1", "block_{i}/norm1", SAME, "scale"),
    *_layer("blocks.{i}.attn.qkv", "block_{i}/attention/qkv"),
    *_layer("blocks.{i}.attn.proj", "block_{i}/attention/out"),
    *_layer("blocks.{i}.norm2", "block_{i}/norm2", SAME, "scale"),
    *_layer("blocks.{i}.mlp.fc1", "block_{i}/fc1"),
    *_layer("blocks.{i}.mlp.fc2", "block_{i}/fc2"),
)
DECODER = (
    *_layer("decoder.blocks.{i}.0", "decoder/conv_{i}", CONVOLUTION),
    *_layer("decoder.proj", "decoder/out"),
)
HEAD = (*_layer("fc_norm", "fc_norm", SAME, "scale"), *_layer("head", "head"))

POSITIONS = "fixed_positional_encoder.positions"
# The tensors that may be left out, and why.
DROPPED = {
    POSITIONS: "recomputed",
    "decoder.*": "only pre-training needs it; --with_decoder keeps it",
    "fc_norm.*": "AudioSet classifier; --with_head keeps it",
    "head.*": "AudioSet classifier; --with_head keeps it",
    "encoder_mask": "unused by the public code as well",
}


class Row(NamedTuple):
    """One parameter: its public name, our name and the change of layout."""

    public: str
    ours: str
    transform: Transform


def rows(table: Iterable[tuple[str, str, Transform]], depth: int) -> list[Row]:
    """Returns the rows of the table, with `{i}` replaced by 0 .. depth - 1."""
    return [
        Row(public.replace("{i}", str(i)), ours.replace("{i}", str(i)), transform)
        for public, ours, transform in table
        for i in range(depth if "{i}" in public else 1)
    ]


def public_name(name: str) -> str:
    """Returns the table's name for a key of a fairseq or Hugging Face file, wrapped or not."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    # Wrappers may be nested, as in module.model.
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    for fairseq, ours in FAIRSEQ_PARTS:
        name = name.replace(fairseq, ours)
    # The oldest checkpoints use this name.
    name = name.replace("positional_encoder.pos_embed", "positional_encoder.positions")
    return name


def check(
    path, wanted: list[Row], template: Mapping[str, tuple[int, ...]], tensors: Mapping
) -> dict[str, str]:
    """Checks that exactly one tensor of the right shape fills every parameter, and returns the
    dropped tensors with the reasons.

    Args:
        path: The file to name in the error.
        wanted: Rows of the parameters to keep.
        template: Our shape of every parameter to fill, by our names.
        tensors: Objects with `.shape` and `.dtype`, by public names.

    Raises:
        InputError: Tensors are missing, left over, or have another shape or type. One message lists
            all of them.
    """
    found = set(tensors)
    names = {row.public for row in wanted}
    if sorted(row.ours for row in wanted) != sorted(template):
        # This is a mistake in our code, not in the file.
        raise AssertionError("the table and the model disagree")
    dropped = {name: reason for name in sorted(found - names) if (reason := _reason(name))}
    problems = [f"missing {name}" for name in sorted(names - found)]
    problems += [f"not known {name[:80]!r}" for name in sorted(found - names - set(dropped))]
    for row in wanted:
        if row.public not in found:
            continue
        tensor = tensors[row.public]
        shape = row.transform.public_shape(template[row.ours])
        if tuple(tensor.shape) != shape:
            problems.append(f"{row.public} has shape {tuple(tensor.shape)}, expected {shape}")
        elif tensor.dtype.name not in ("float64", "float32", "float16", "bfloat16"):
            problems.append(
                f"{row.public} holds {tensor.dtype.name} numbers, wanted floating point"
            )
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"{path}: the tensors are not those of an EAT: " + "; ".join(problems[:20]) + more
        )
    return dropped


# Names of tensors in other audio transformers, by which these are recognised.
_OTHERS = {
    "BEATs": "encoder.layers.*.self_attn.*",
    "AST": "*encoder.layer.*.attention.attention.query.weight",
    "wav2vec 2.0, HuBERT or WavLM": "*feature_extractor.conv_layers.*",
    "a vision transformer of timm, as in PaSST and AudioMAE": "patch_embed.proj.weight",
}


def looks_like(names: Iterable[str]) -> str:
    """Returns a phrase that names the model to which tensors belong, or their first names."""
    names = sorted(names)
    for model, pattern in _OTHERS.items():
        if any(fnmatch.fnmatchcase(name, pattern) for name in names):
            return f"the names of its tensors are those of {model}"
    return f"its tensors are {', '.join(repr(name[:60]) for name in names[:4])} ..."


def _reason(name):
    return next(
        (reason for pattern, reason in DROPPED.items() if fnmatch.fnmatchcase(name, pattern)), None
    )
