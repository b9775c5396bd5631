"""Reads and writes weight files: one safetensors format for all encoders.

They may be converted, pre-trained or fine-tuned. Tensors are named by the Flax parameter paths
joined by "/". The metadata key "asd_jax" is JSON that describes them; it is compared with the
tensors in the file before any of them is read.
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

from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd, SimAM
from asd_jax.models.eat import EAT, PATCH, EATConfig, stacked_blocks
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256
from asd_jax.runtime.json_text import parse_json
from asd_jax.runtime.schema import build_checked
from asd_jax.training.mesh import own_devices, replicated
from asd_jax.training.tensors import StoredTensor, open_tensors, write_safetensors

FORMAT = 1
KINDS = "eat", "encoder"
FROZEN_POOLINGS = ("cls", "mean", "band_mean")  # without parameters of their own
_Config = TypeVar("_Config")
# The small pre-trained encoder that comes with the package; the README.md beside it describes it.
BOX = "box"
BOX_FILE = Path(__file__).parents[1] / "box" / "eat_tiny_even.safetensors"


def save_weights(path: str | Path, params: dict, header: Mapping[str, Any]) -> None:
    """Writes parameters and the JSON header atomically; the same input gives the same bytes."""
    # Sorted keys: the same weights give the same file.
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True)
    write_safetensors(path, flatten_dict(params, sep="/"), {"asd_jax": text})


def read_header(path: str | Path) -> dict[str, Any]:
    """Returns the header that `save_weights` wrote to a weight file, without reading its tensors.

    Raises:
        InputError: as for `open_weights`.
    """
    return open_weights(path)[1]


def read_weights(
    path: str | Path, *, kinds: Sequence[str] = KINDS
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the tensors by name and the header of a file of one of the `kinds`.

    Raises:
        InputError: as for `open_weights`, or a tensor contains NaN or infinity.
    """
    tensors, header = open_weights(path, kinds=kinds)
    return {name: finite_values(tensor) for name, tensor in tensors.items()}, header


def open_weights(
    path: str | Path, *, kinds: Sequence[str] = KINDS
) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """Returns the tensors by name, still on disk, and the header of a file of one of the `kinds`.

    The path "box" stands for the encoder that comes with the package.

    Raises:
        InputError: the file does not exist, is not a safetensors file, is truncated, has no header
            of this project or has another format or kind.
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
    header = parse_json(metadata["asd_jax"].encode(), f"{path}: not a readable safetensors file")
    number = header.get("format")
    kind = header.get("kind")
    # True equals 1, so the type is compared, too.
    if type(number) is not int or number != FORMAT or kind not in kinds:
        raise InputError(
            f"{path}: format {reprlib.repr(number)}, kind {reprlib.repr(kind)}; expected "
            f"{' or '.join(kinds)}, and this version reads format {FORMAT}"
        )
    return tensors, header


def finite_values(tensor: StoredTensor) -> np.ndarray:
    """Returns the values of a tensor.

    Raises:
        InputError: a value is NaN or infinite.
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
    """Returns the path for a name; "box" is the small pre-trained encoder that comes with the
    package.
    """
    return BOX_FILE if name == BOX else Path(name)


def origin_entries(name: str | Path) -> dict[str, str]:
    """Returns the header entries, name and SHA-256, of a file that is made from these weights."""
    return {"source": weights_file(name).name, "sha256": file_sha256(weights_file(name))}


def fill_template(template: dict, tensors: Mapping[str, Any], path: str | Path) -> dict:
    """Returns the tensors as parameters with the template's structure, shapes and dtypes.

    Every parameter must be given, and every tensor must be used.

    Raises:
        InputError: tensors are missing, unused or of another shape, all of which the message lists;
            or a tensor contains NaN or infinity.
    """
    wanted: dict[str, Any] = flatten_dict(template, sep="/")
    # All problems are listed at once: a model of another size differs in every tensor.
    problems = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    # Names in a foreign file may be of any length.
    problems += [f"not used {name[:80]}" for name in sorted(set(tensors) - set(wanted))]
    problems += [
        f"{name} has shape {tensors[name].shape}, expected {wanted[name].shape}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"{path}: the weights do not fit the model: " + "; ".join(problems[:20]) + more
        )
    read = {n: finite_values(t) if isinstance(t, StoredTensor) else t for n, t in tensors.items()}
    # A file may hold float16, whereas the parameters of the model are float32.
    return unflatten_dict({n: jnp.asarray(read[n], wanted[n].dtype) for n in wanted}, sep="/")


def load_encoder(path: str | Path) -> tuple[EATConfig, dict]:
    """Returns the sizes and the parameters of `EAT(config)` from any weight file of this project.

    Example:
        config, params = load_encoder("box")
        tokens, _ = EAT(config).apply({"params": params}, spectrogram)

    Raises:
        InputError: as for `open_weights` and `fill_template`; or the file's encoder has no EAT.
    """
    tensors, header = open_weights(path)
    if header.get("eat") is None:
        raise InputError(f"{path}: this file holds no EAT")
    config = _built(EATConfig, header["eat"], path)
    if header["kind"] == "encoder":
        tensors = {n.removeprefix("eat/"): t for n, t in tensors.items() if n.startswith("eat/")}
    # The file may also hold a decoder or a classifier (convert --with_decoder, --with_head).
    else:
        tensors = {
            n: t for n, t in tensors.items() if not n.startswith(("decoder/", "head/", "fc_norm/"))
        }
    return config, fill_template(abstract_eat(config), tensors, path)


def front_end_of(path: str | Path) -> FrontEnd | None:
    """Returns the front end that the encoder of a weight file was trained with, None if none is
    named.

    Raises:
        InputError: as for `open_weights`.
    """
    header = read_header(path)
    return _built(FrontEnd, header["front_end"], path) if header.get("front_end") else None


def front_end_of_eat(path: str | Path, sizes: EATConfig) -> FrontEnd:
    """Returns the front end of a bare EAT: that of the file, else that of the public checkpoints.

    Raises:
        InputError: as for `open_weights`.
    """
    # The public EATs were trained on the mel filter bank, without SimAM.
    return front_end_of(path) or FrontEnd("mel", bins=sizes.mel_bins, simam=SimAM("none"))


def load_decoder(path: str | Path, template: dict) -> dict | None:
    """Returns the decoder in a file of `convert.eat --with_decoder`, None if the file has none.

    Pre-training can then continue with it.

    Raises:
        InputError: as for `open_weights` and `fill_template`.
    """
    tensors = open_weights(path)[0]
    decoder = {
        n.removeprefix("decoder/"): t for n, t in tensors.items() if n.startswith("decoder/")
    }
    return fill_template(template, decoder, path) if decoder else None


def load_pipeline(
    path: str | Path, *, pooling: str = "", spacing: str = "", block: int = -1
) -> "Pipeline":
    """Returns the pipeline from waveform to embedding that a weight file describes.

    A fine-tuned encoder's file names everything. A bare EAT, such as convert.eat writes, needs a
    pooling.

    Example:
        pipeline = load_pipeline("runs/quickstart/weights.safetensors")
        embeddings = pipeline.embed(waves)
        public = load_pipeline("weights/eat_base.safetensors", pooling="cls")

    Args:
        path: the weight file; "box" is the encoder that comes with the package.
        pooling: for a bare EAT: cls, mean or band_mean.
        spacing: for a bare EAT: the filter bank's spacing; default: that of the file.
        block: for a bare EAT: whose output is pooled; negative counts from the last.

    Raises:
        InputError: as for `open_weights` and `fill_template`; or a bare EAT comes without pooling,
            or a fine-tuned encoder with one.
    """
    tensors, header = open_weights(path)
    if header["kind"] == "eat":
        return _with_pooling(path, pooling, spacing, block)
    # The file's own settings are not overridden silently.
    if pooling or spacing or block != -1:
        raise InputError(f"{path}: an encoder with its own front end and pooling; leave them out")
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
    return Pipeline(config, fill_template(abstract_encoder(config), tensors, path))


def _with_pooling(path: str | Path, pooling: str, spacing: str, block: int) -> "Pipeline":
    """Returns the pipeline of a bare EAT."""
    if pooling not in FROZEN_POOLINGS:
        raise InputError(
            f"{path}: holds a bare EAT, which does not say how its tokens become an embedding: "
            f'load_pipeline(path, pooling="cls"), or one of {", ".join(FROZEN_POOLINGS)}'
        )
    sizes, params = load_encoder(path)
    front_end = front_end_of_eat(path, sizes)
    if spacing:
        front_end = dataclasses.replace(front_end, spacing=spacing)
    config = EncoderConfig(front_end, sizes, Pooling(pooling, block, 0))
    return Pipeline(config, {"eat": params})


def save_encoder(path: str | Path, config: EncoderConfig, params: dict, **header) -> None:
    """Writes an encoder (front end, EAT, pooling) to one weight file."""
    parts = dataclasses.asdict(config)
    save_weights(
        path, params, {"kind": "encoder", **parts, "embedding_dim": config.embedding_dim, **header}
    )


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """An encoder with its parameters: everything from waveform to embedding."""

    config: EncoderConfig
    params: dict = dataclasses.field(repr=False)
    runtime: str = "jax"  # of the views of a detector, one of RUNTIMES

    def __getstate__(self) -> dict[str, object]:
        """Returns what pickle and copy keep: the fields, without the copies on devices."""
        # Arrays on a device cannot be pickled.
        params = jax.tree.map(np.asarray, self.params)
        return {"config": self.config, "params": params, "runtime": self.runtime}

    @functools.cached_property
    def on_devices(self) -> dict:
        """The parameters, with a full copy on every device of this process."""
        return replicated(own_devices(), self.params)

    @functools.cached_property
    def stacked(self) -> dict:
        """The parameters with EAT's blocks as a loop, for programs that must compile quickly."""
        if self.config.eat is None:
            return self.params
        return self.params | {"eat": stacked_blocks(self.params["eat"], self.config.used_depth)}

    def embed(self, wave, machine: str | None = None) -> jax.Array:
        """Returns the embeddings "b e" (or "b bands e") of waveforms "b s" in [-1, 1].

        The waveforms must have the front end's sampling rate. One waveform "s" gives "e".

        Args:
            wave: float waveforms of equal length.
            machine: selects the SimAM mode where each machine has its own.

        Raises:
            InputError: the array has other axes, or less than one frame of sound (25 ms).
        """
        if np.ndim(wave) == 1:
            return self.embed(np.asarray(wave)[None], machine)[0]
        least = self.config.front_end.samples(1)
        if np.ndim(wave) != 2 or np.shape(wave)[1] < least:
            raise InputError(
                f'waveforms of shape {np.shape(wave)}: expected "b s", clips of equal length of '
                f"{least} samples or more, or one clip"
            )
        mode = self.config.front_end.simam.mode_of(machine) if machine is not None else None
        wave = jnp.asarray(wave, jnp.float32)
        modes = None if mode is None else jnp.full(len(wave), mode)
        return embed(self.config, self.params, wave, modes)[0]


# The config is static: each encoder has its own program, kept between calls.
@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def embed(config: EncoderConfig, params: dict, wave, simam_mode=None, dtype=jnp.float32):
    """Returns the embeddings of waveforms "b s", and the embeddings "b f" of the filter-bank
    baseline.
    """
    embedding, out = Encoder(config, dtype).apply({"params": params}, wave, simam_mode)
    return embedding, out["filter_bank"]


def random_eat(config: EATConfig, seed: int) -> dict:
    """Returns the random initial parameters of an EAT, a baseline for every trained one."""
    spectrogram = jnp.zeros((1, PATCH, config.mel_bins))
    return jax.jit(EAT(config).init)(jax.random.key(seed), spectrogram)["params"]


def abstract_eat(config: EATConfig) -> dict:
    """Returns the shapes and dtypes of EAT's parameters."""
    # All blocks are alike, so one is traced.
    module = EAT(dataclasses.replace(config, depth=1))
    found = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), _spectrogram(config))
    return _with_all_blocks(found["params"], config.depth)


def abstract_encoder(config: EncoderConfig) -> dict:
    """Returns the shapes and dtypes of an encoder's parameters ({} for the bare filter bank)."""
    if config.eat is None:
        return {}
    # The one block that is traced has no others to average with.
    tokens = dataclasses.replace(config.pooling.tokens, blocks="")
    one_block = dataclasses.replace(
        config,
        eat=dataclasses.replace(config.eat, depth=1),
        pooling=dataclasses.replace(config.pooling, block=-1, tokens=tokens),
    )

    def init(x):
        mode = jnp.zeros(1, jnp.int32)
        samples = config.front_end.samples(x.shape[1])
        return Encoder(one_block).init(jax.random.key(0), x, samples, mode, method="embed")

    found = jax.eval_shape(init, _spectrogram(config.eat))["params"]
    return found | {"eat": _with_all_blocks(found["eat"], config.eat.depth)}


def _spectrogram(config: EATConfig) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, FRAME_MULTIPLE, config.mel_bins), jnp.float32)


def _with_all_blocks(params: dict, depth: int) -> dict:
    return params | {f"block_{i}": params["block_0"] for i in range(depth)}


def _built(kind: type[_Config], values: Any, path: str | Path) -> _Config:
    try:
        return build_checked(kind, values)
    except InputError as error:
        raise InputError(f"{path}: the header's {kind.__name__} is not valid ({error})") from error
