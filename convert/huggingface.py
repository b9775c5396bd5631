"""Writes EAT in the layout of the public Hugging Face repositories: `model.safetensors` and
`config.json`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from asd_jax.models.eat import NORM_EPS, PATCH, EATConfig, position_table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.training.weights import load_encoder, read_weights, write_safetensors
from convert import table

# The number of time patches in the public position table, 122.9 s.
MAX_LENGTH = 768


def write_public(
    path: str | Path, config: EATConfig, parameters: Mapping[str, Any], front_end: dict | None
) -> None:
    """Writes both files into the folder `path`.

    Args:
        path: The folder, created if needed.
        config: The sizes of the encoder.
        parameters: Parameters by our names, of the encoder and, if it is fine-tuned on AudioSet, of
            "fc_norm" and "head".
        front_end: Settings of the front end the encoder was trained on, stored for the conversion
            back. The public code always computes the mel filter bank.
    """
    path = Path(path)
    finetuned = "head/kernel" in parameters
    rows = table.rows(table.ENCODER + (table.HEAD if finetuned else ()), config.depth)
    # The public files begin every name with `model.`, which the table leaves out.
    tensors = {f"model.{row.public}": Public(parameters[row.ours], row.transform) for row in rows}
    positions = position_table(config.embed_dim, MAX_LENGTH, config.mel_bins // PATCH)[None]
    # Public loaders refuse a file whose metadata does not name a format.
    write_safetensors(
        path / "model.safetensors",
        tensors | {f"model.{table.POSITIONS}": positions},
        {"format": "pt"},
    )
    settings = {
        "model_type": "eat",
        "architectures": ["EATModel"],
        "auto_map": {
            "AutoConfig": "configuration_eat.EATConfig",
            "AutoModel": "modeling_eat.EATModel",
        },
        "model_variant": "finetune" if finetuned else "pretrain",
        "num_classes": parameters["head/bias"].shape[0] if finetuned else 0,
        **dataclasses.asdict(config),
        "patch_size": PATCH,
        "stride": PATCH,
        "in_chans": 1,
        "max_length": MAX_LENGTH,
        # Clips of 1024 frames, as in the public training; the encoder takes other lengths, too.
        "img_size": [1024, config.mel_bins],
        "qkv_bias": True,
        "layer_norm_first": False,
        "norm_eps": NORM_EPS,
        "norm_affine": True,
        "fixed_positions": True,
        # Rates of the public training code, which its loaders read too.
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
        "activation_dropout": 0.0,
        "post_mlp_drop": 0.0,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "torch_dtype": "float32",
        "asd_jax_front_end": front_end,
    }
    # Sorted, so that two exports can be compared line by line.
    write_json(path / "config.json", dict(sorted(settings.items())))


def read_ours(
    source: str | Path,
) -> tuple[EATConfig, dict[str, Any], dict | None, list[str], dict | None]:
    """Returns the EAT part of a weight file of ours.

    The tuple contains the sizes, the parameters by our names, the front end, the names of the
    tensors that are not part of the EAT, and the classifier entry of the header.

    Raises:
        InputError: For the same reasons as `asd_jax.training.weights.load_encoder`, or because the
            EAT receives its input through a trained attention.
    """
    config, params = load_encoder(source)
    tensors, header = read_weights(source)
    if (attention := header.get("attention", "none")) != "none":
        raise InputError(
            f"{source}: its EAT was trained behind model.attention={attention}, which the Hugging "
            "Face layout cannot hold: without it, it is another function; python -m "
            "asd_jax.export writes the whole encoder"
        )
    kept = flatten_dict(params, sep="/") | {
        n: t for n, t in tensors.items() if n.startswith(("fc_norm/", "head/"))
    }
    left = sorted({n.removeprefix("eat/") for n in tensors} - set(kept))
    return config, kept, header.get("front_end"), left, header.get("classifier")


class Public:
    """A parameter in the public layout, computed when it is written."""

    dtype = np.dtype(np.float32)

    def __init__(self, parameter, transform):
        self.parameter = parameter
        self.transform = transform
        self.shape = transform.public_shape(parameter.shape)

    def __array__(self, dtype=None, copy=None):
        return self.transform.to_public(np.asarray(self.parameter, np.float32))
