"""The golden tiny EAT under our parameter names: a second, plain way beside convert/, for tests of
the model itself.
"""

from pathlib import Path

import jax.numpy as jnp
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file

_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.qkv": "attention/qkv",
    "attn.proj": "attention/out",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}


def golden_eat() -> dict:
    """Parameters of tests/golden/tiny_eat_hf.safetensors."""
    return flax_names(load_file(Path(__file__).parent / "golden" / "tiny_eat_hf.safetensors"))


def flax_names(tensors: dict) -> dict:
    """Tensors under Hugging Face or fairseq names -> nested parameters (or gradients) of `EAT`."""
    return unflatten_dict(
        dict(_renamed(*pair) for pair in tensors.items() if "positions" not in pair[0]), sep="/"
    )


def _renamed(name, value):
    name = name.removeprefix("model.").removeprefix("modality_encoders.IMAGE.")
    name = name.replace("context_encoder.norm", "pre_norm")
    if name == "extra_tokens":
        return "cls", jnp.asarray(value.reshape(-1))
    module, kind = name.rsplit(".", 1)
    if module == "local_encoder.proj":
        module = "patch"
    elif module.startswith("blocks."):
        _, number, part = module.split(".", 2)
        module = f"block_{number}/{_NAMES[part]}"
    if kind == "bias":
        return f"{module}/bias", jnp.asarray(value)
    if "norm" in module:
        return f"{module}/scale", jnp.asarray(value)
    return f"{module}/kernel", jnp.asarray(value.reshape(len(value), -1).T)
