"""Weight files: one safetensors format for converted, pre-trained and fine-tuned encoders.

Tensors carry the Flax parameter paths joined by "/"; the metadata key "asd_jax" is JSON that says
what they are. Nothing else in the project reads or writes weight files.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from flax.traverse_util import flatten_dict, unflatten_dict

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256, open_regular, whole_file
from asd_jax.training.mesh import own_devices, replicated

FORMAT = 1
_Config = TypeVar("_Config")
# see README.md beside it
BOX, BOX_FILE = (
    "box",
    Path(__file__).parents[1] / "box" / "eat_tiny_even.safetensors",
)
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "int32": "I32",
    "uint8": "U8",
}


def save_weights(path: str | Path, params: dict, header: Mapping[str, Any]) -> None:
    """Writes parameters and the JSON header atomically; the same input gives the same bytes."""
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True)
    write_safetensors(path, flatten_dict(params, sep="/"), {"asd_jax": text})


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Any], metadata: dict[str, str]
) -> None:
    """Writes a safetensors file atomically, with only one tensor in memory at a time (the library's
    writer wants all).

    Args:
        path: the file; its folder is made.
        tensors: by name, anything with `.shape`, `.dtype` and `__array__` (which may read from
            disk).
        metadata: text for the file's header.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    # widest first keeps all aligned
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    for name in order:
        shape, dtype = tensors[name].shape, tensors[name].dtype
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": DTYPES[dtype.name],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)


def read_header(path: str | Path) -> dict[str, Any]:
    """What `save_weights` said of a weight file, without its tensors.

    Raises:
        InputError: as `read_weights`.
    """
    return read_weights(path, header_only=True)[1]


def read_weights(
    path: str | Path, *, kinds: Sequence[str] = ("eat", "encoder"), header_only: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads the tensors by name and the header of a file of one of the `kinds`; of "box", the one
    in the package.

    Raises:
        InputError: missing, not safetensors, truncated, without our header, or of a newer format.
    """
    path = weights_file(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; name the weight file in it")
    try:
        with open_regular(path), safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if "asd_jax" not in metadata:
                raise InputError(
                    f"{path}: a safetensors file, but not one of asd_jax; public EAT checkpoints "
                    f"are brought in with\n"
                    f"  python -m convert.eat --source={path} --output=FILE.safetensors"
                )
            header = json.loads(metadata["asd_jax"])
            tensors = {name: file.get_tensor(name) for name in (() if header_only else file.keys())}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weight file; {HOW_TO_GET_WEIGHTS}") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    if (
        not isinstance(header, dict)
        or header.get("format") != FORMAT
        or header.get("kind") not in kinds
    ):
        found = (
            (header.get("format"), header.get("kind")) if isinstance(header, dict) else (None, None)
        )
        raise InputError(
            f"{path}: format {found[0]!r}, kind {found[1]!r}; wanted here: {' or '.join(kinds)}, "
            f"and this version reads format {FORMAT}"
        )
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.astype(np.float32)).all():
            raise InputError(f"{path}: tensor {name} holds NaN or infinity")
    return tensors, header


HOW_TO_GET_WEIGHTS = (
    "the public EAT-base weights are brought in with\n"
    "  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain "
    "--output=weights/eat_base.safetensors\n"
    "and the small encoder that comes with the package is named box (model.size=tiny)"
)


def weights_file(name: str | Path) -> Path:
    """The file of a name: "box" is the small pre-trained encoder that comes with the package."""
    return BOX_FILE if name == BOX else Path(name)


def origin(name: str | Path) -> dict[str, str]:
    """What a file made from these weights says of them in its header."""
    return {"source": weights_file(name).name, "sha256": file_sha256(weights_file(name))}


def fill(template: dict, tensors: dict[str, np.ndarray], path: str | Path) -> dict:
    """Parameters of the template's structure, shapes and dtypes, every one filled and every tensor
    used.

    Raises:
        InputError: one message that lists all that is missing, left over or of another shape.
    """
    wanted: dict[str, Any] = flatten_dict(template, sep="/")
    problems = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    problems += [f"not used {name}" for name in sorted(set(tensors) - set(wanted))]
    problems += [
        f"{name} has shape {tensors[name].shape}, wanted {wanted[name].shape}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    if problems:
        raise InputError(f"{path}: the weights do not fit the model: " + "; ".join(problems))
    return unflatten_dict({n: jnp.asarray(tensors[n], wanted[n].dtype) for n in wanted}, sep="/")


def load_encoder(path: str | Path) -> tuple[EATConfig, dict]:
    """The EAT part of any of our weight files -> (sizes, parameters of `EAT(config)`).

    Raises:
        InputError: as `read_weights` and `fill`; or an encoder without EAT.
    """
    tensors, header = read_weights(path)
    if header.get("eat") is None:
        raise InputError(f"{path}: this file holds no EAT")
    config = _config(EATConfig, header["eat"], path)
    if header["kind"] == "encoder":
        tensors = {n.removeprefix("eat/"): t for n, t in tensors.items() if n.startswith("eat/")}
    else:  # a decoder or classifier may travel along (convert --with_decoder, --with_head)
        tensors = {
            n: t for n, t in tensors.items() if not n.startswith(("decoder/", "head/", "fc_norm/"))
        }
    return config, fill(abstract_eat(config), tensors, path)


def front_end_of(path: str | Path) -> FrontEnd | None:
    """The front end that the encoder of a weight file was trained with; None where the file names
    none.

    Raises:
        InputError: as `read_weights`.
    """
    header = read_header(path)
    return (
        _config(FrontEnd.from_header, header["front_end"], path)
        if header.get("front_end")
        else None
    )


def load_decoder(path: str | Path, template: dict) -> dict | None:
    """The decoder that travels in a file of `convert.eat --with_decoder`, for pre-training to
    continue; None without.

    Raises:
        InputError: as `read_weights` and `fill`.
    """
    tensors = read_weights(path)[0]
    decoder = {
        n.removeprefix("decoder/"): t for n, t in tensors.items() if n.startswith("decoder/")
    }
    return fill(template, decoder, path) if decoder else None


def load_pipeline(path: str | Path) -> "Pipeline":
    """An encoder's weight file (fine-tuned) -> everything from waveform to embedding.

    Raises:
        InputError: as `read_weights` and `fill`; or a file that holds a bare EAT without a pooling.
    """
    tensors, header = read_weights(path)
    if header["kind"] != "encoder":
        raise InputError(
            f"{path}: holds a bare EAT, no front end and pooling; use load_encoder or "
            f"asd_jax.evaluate"
        )
    return pipeline_of(tensors, header, path)


def pipeline_of(
    tensors: dict[str, np.ndarray], header: Mapping[str, Any], path: str | Path
) -> "Pipeline":
    """Tensors and header of an encoder, read from `path` -> the pipeline.

    Raises:
        InputError: a header that is not valid, or as `fill`.
    """
    config = EncoderConfig(
        front_end=_config(FrontEnd.from_header, header.get("front_end"), path),
        eat=_config(EATConfig, header["eat"], path) if header.get("eat") else None,
        pooling=_config(Pooling, header.get("pooling"), path),
        attention=header.get("attention", "none"),
    )
    return Pipeline(config, fill(abstract_encoder(config), tensors, path))


def save_encoder(path: str | Path, config: EncoderConfig, params: dict, **header) -> None:
    """Writes an encoder (front end, EAT, pooling) as one weight file."""
    parts = dataclasses.asdict(config)
    save_weights(
        path, params, {"kind": "encoder", **parts, "embedding_dim": config.embedding_dim, **header}
    )


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Everything from waveform to embedding."""

    config: EncoderConfig
    params: dict = dataclasses.field(repr=False)

    @functools.cached_property
    def on_devices(self) -> dict:
        """The parameters, whole on every device of this process."""
        return replicated(own_devices(), self.params)

    def embed(self, wave, machine: str | None = None) -> jax.Array:
        """Waveforms "b s" in [-1, 1] at the front end's sample rate -> embeddings "b e".

        Args:
            wave: float waveforms of equal length.
            machine: picks the SimAM mode where that is chosen per machine.
        """
        mode = self.config.front_end.simam.mode_of(machine) if machine is not None else None
        wave = jnp.asarray(wave, jnp.float32)
        modes = None if mode is None else jnp.full(len(wave), mode)
        return embed(self.config, self.params, wave, modes)[0]


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def embed(config: EncoderConfig, params: dict, wave, simam_mode=None, dtype=jnp.float32):
    """Waveforms -> (embeddings, the filter-bank baseline's embeddings "b f")."""
    embedding, out = Encoder(config, dtype).apply({"params": params}, wave, simam_mode)
    return embedding, out["filter_bank"]


def random_eat(config: EATConfig, seed: int) -> dict:
    """Parameters of an EAT that has learnt nothing: the baseline of every trained one."""
    spectrogram = jnp.zeros((1, PATCH, config.mel_bins))
    return jax.jit(EAT(config).init)(jax.random.key(seed), spectrogram)["params"]


def abstract_eat(config: EATConfig) -> dict:
    """Shapes and dtypes of EAT's parameters."""
    spectrogram = jax.ShapeDtypeStruct((1, PATCH, config.mel_bins), jnp.float32)
    return jax.eval_shape(EAT(config).init, jax.random.key(0), spectrogram)["params"]


def abstract_encoder(config: EncoderConfig) -> dict:
    """Shapes and dtypes of an encoder's parameters ({} for the bare filter bank)."""
    wave = jax.ShapeDtypeStruct((1, config.front_end.sample_rate), jnp.float32)
    mode = jax.ShapeDtypeStruct((1,), jnp.int32)
    return jax.eval_shape(Encoder(config).init, jax.random.key(0), wave, mode).get("params", {})


def _config(kind: Callable[..., _Config], values: Any, path) -> _Config:
    try:
        return kind(**values)
    except (AttributeError, TypeError, ValueError) as error:
        name = kind.__qualname__.partition(".")[0]
        raise InputError(f"{path}: the header's {name} is not valid ({error})") from error
