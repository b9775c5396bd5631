"""Weight files: one safetensors format for converted, pre-trained and fine-tuned encoders.

Tensors carry the Flax parameter paths joined by "/"; the metadata key "asd_jax" is JSON that says
what they are. It is compared with the tensors that are there before any of them is read.
"""

import dataclasses
import functools
import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256
from asd_jax.runtime.json_text import parse_json
from asd_jax.runtime.schema import built
from asd_jax.training.mesh import own_devices, replicated
from asd_jax.training.tensors import StoredTensor, open_tensors, write_safetensors

FORMAT = 1
KINDS = "eat", "encoder"
_Config = TypeVar("_Config")
# see README.md beside it
BOX, BOX_FILE = (
    "box",
    Path(__file__).parents[1] / "box" / "eat_tiny_even.safetensors",
)


def save_weights(path: str | Path, params: dict, header: Mapping[str, Any]) -> None:
    """Writes parameters and the JSON header atomically; the same input gives the same bytes."""
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True)
    write_safetensors(path, flatten_dict(params, sep="/"), {"asd_jax": text})


def read_header(path: str | Path) -> dict[str, Any]:
    """What `save_weights` said of a weight file, without its tensors.

    Raises:
        InputError: as `open_weights`.
    """
    return open_weights(path)[1]


def read_weights(
    path: str | Path, *, kinds: Sequence[str] = KINDS
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads the tensors by name and the header of a file of one of the `kinds`.

    Raises:
        InputError: as `open_weights`, or NaN or infinity in a tensor.
    """
    tensors, header = open_weights(path, kinds=kinds)
    return {name: finite(tensor) for name, tensor in tensors.items()}, header


def open_weights(
    path: str | Path, *, kinds: Sequence[str] = KINDS
) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """The tensors by name, still on disk, and the header of a file of one of the `kinds`; of "box",
    the one in the package.

    Raises:
        InputError: missing, not safetensors, truncated, without our header, or of a newer format.
    """
    path = weights_file(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; name the weight file in it")
    if not path.exists():
        raise InputError(f"{path}: no such weight file; {HOW_TO_GET_WEIGHTS}")
    metadata, tensors = open_tensors(path)
    if "asd_jax" not in metadata:
        raise InputError(
            f"{path}: a safetensors file, but not one of asd_jax; public EAT checkpoints are "
            "brought in with\n"
            f"  python -m convert.eat --source={path} --output=FILE.safetensors"
        )
    header = parse_json(
        metadata["asd_jax"].encode(errors="replace"), f"{path}: not a readable safetensors file"
    )
    number, kind = header.get("format"), header.get("kind")
    if type(number) is not int or number != FORMAT or kind not in kinds:
        raise InputError(
            f"{path}: format {reprlib.repr(number)}, kind {reprlib.repr(kind)}; wanted here: "
            f"{' or '.join(kinds)}, and this version reads format {FORMAT}"
        )
    return tensors, header


def finite(tensor: StoredTensor) -> np.ndarray:
    """The numbers of a tensor.

    Raises:
        InputError: NaN or infinity among them.
    """
    found = tensor.read()
    if not np.isfinite(found.astype(np.float32)).all():
        raise InputError(f"{tensor.path}: tensor {tensor.name} holds NaN or infinity")
    return found


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


def fill(template: dict, tensors: Mapping[str, Any], path: str | Path) -> dict:
    """Parameters of the template's structure, shapes and dtypes, every one filled and every tensor
    used.

    Raises:
        InputError: one message that lists what is missing, left over or of another shape; NaN or
            infinity in a tensor.
    """
    wanted: dict[str, Any] = flatten_dict(template, sep="/")
    problems = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    problems += [f"not used {name[:80]}" for name in sorted(set(tensors) - set(wanted))]
    problems += [
        f"{name} has shape {tensors[name].shape}, wanted {wanted[name].shape}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"{path}: the weights do not fit the model: " + "; ".join(problems[:20]) + more
        )
    read = {n: finite(t) if isinstance(t, StoredTensor) else t for n, t in tensors.items()}
    return unflatten_dict({n: jnp.asarray(read[n], wanted[n].dtype) for n in wanted}, sep="/")


def load_encoder(path: str | Path) -> tuple[EATConfig, dict]:
    """The EAT part of any of our weight files -> (sizes, parameters of `EAT(config)`).

    Raises:
        InputError: as `open_weights` and `fill`; or an encoder without EAT.
    """
    tensors, header = open_weights(path)
    if header.get("eat") is None:
        raise InputError(f"{path}: this file holds no EAT")
    config = _built(EATConfig, header["eat"], path)
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
        InputError: as `open_weights`.
    """
    header = read_header(path)
    return _built(FrontEnd, header["front_end"], path) if header.get("front_end") else None


def load_decoder(path: str | Path, template: dict) -> dict | None:
    """The decoder that travels in a file of `convert.eat --with_decoder`, for pre-training to
    continue; None without.

    Raises:
        InputError: as `open_weights` and `fill`.
    """
    tensors = open_weights(path)[0]
    decoder = {
        n.removeprefix("decoder/"): t for n, t in tensors.items() if n.startswith("decoder/")
    }
    return fill(template, decoder, path) if decoder else None


def load_pipeline(path: str | Path) -> "Pipeline":
    """An encoder's weight file (fine-tuned) -> everything from waveform to embedding.

    Raises:
        InputError: as `open_weights` and `fill`; or a file that holds a bare EAT without a pooling.
    """
    tensors, header = open_weights(path)
    if header["kind"] != "encoder":
        raise InputError(
            f"{path}: holds a bare EAT, no front end and pooling; use load_encoder or "
            "asd_jax.evaluate"
        )
    config = _built(
        EncoderConfig,
        {
            "front_end": header.get("front_end"),
            "eat": header.get("eat"),
            "pooling": header.get("pooling"),
            "attention": header.get("attention", "none"),
        },
        path,
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


def _built(kind: type[_Config], values: Any, path: str | Path) -> _Config:
    try:
        return built(kind, values)
    except InputError as error:
        raise InputError(f"{path}: the header's {kind.__name__} is not valid ({error})") from error
