"""Opens a public EAT checkpoint from a file, a folder or the Hugging Face hub as named tensors that
stay on disk.
"""

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular, read_json
from asd_jax.training.tensors import open_tensors
from convert import torch_file
from convert.table import public_name

HUB = "https://huggingface.co"
LARGEST_CONFIG = 1 << 20  # bytes


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A public checkpoint.

    Attributes:
        path: The file that holds the weights.
        name: The name to record in a header: the hub id or the file's name, never a local path.
        layout: "fairseq" or "huggingface".
        tensors: The student's tensors, by the names of the table.
        teacher: The EMA teacher's tensors, by the same names; empty if the file has none.
        settings: The model's configuration: fairseq's `cfg["model"]` or `config.json`.
    """

    path: Path
    name: str
    layout: str
    tensors: Mapping[str, Any]
    teacher: Mapping[str, Any]
    settings: Mapping[str, Any]


def open_checkpoint(source: str | Path, revision: str = "main") -> Checkpoint:
    """Returns the checkpoint in a file, a folder with `model.safetensors` and `config.json`, or a
    hub repository `owner/name`.

    Raises:
        InputError: The file does not exist, there is no network, or the file is not a checkpoint.
    """
    path = Path(source)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise InputError(f"{source}: no model.safetensors in this folder")
    if path.is_file():
        return _from_file(path, path.name)
    # A missing weight file must not be taken for a hub id.
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", str(source)) or path.suffix in (
        ".pt",
        ".pth",
        ".safetensors",
    ):
        raise InputError(f"{source}: no such file or folder, and no hub id (owner/name)")
    path, commit = _from_hub(str(source), revision)
    return _from_file(path, f"{source}@{commit}")


def is_ours(source: str | Path) -> bool:
    """Returns whether `source` is one of our own weight files."""
    try:
        return "asd_jax" in open_tensors(source)[0]
    except InputError:
        return False


def _from_file(path, name):
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    # A safetensors file begins with 8 bytes of header length, followed by JSON.
    if start[8:] == b"{":
        return _safetensors(path, name)
    return _torch(path, name)


def _safetensors(path, name):
    metadata, tensors = open_tensors(path)
    if "asd_jax" in metadata:
        raise InputError(
            f"{path}: already holds asd_jax weights; --to=huggingface takes them back out"
        )
    candidates = [path.with_name("config.json"), path.with_name(path.stem + "_config.json")]
    config = next((candidate for candidate in reversed(candidates) if candidate.is_file()), None)
    if config is None:
        raise InputError(
            f"{path}: put the model's config.json beside it (it holds the number of attention "
            "heads)"
        )
    return Checkpoint(
        path,
        name,
        "huggingface",
        _named(path, tensors),
        {},
        read_json(config, largest=LARGEST_CONFIG),
    )


def _torch(path, name):
    saved = torch_file.read_torch(path)
    model = saved.get("model") if isinstance(saved, dict) else None
    if not isinstance(model, dict):
        raise InputError(f"{path}: no fairseq checkpoint (no `model` with tensors)")
    model = dict(model)
    teacher = model.pop("_ema", {})
    tensors = _named(path, model)
    settings = _get(saved, "cfg", "model") or _get(saved, "args") or {}
    if not isinstance(teacher, dict) or not isinstance(settings, dict):
        raise InputError(f"{path}: `_ema` or the configuration is not a dictionary")
    return Checkpoint(path, name, "fairseq", tensors, _named(path, teacher), settings)


def encoder_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the encoder's own settings as a flat dictionary of numbers and strings, with the
    front end that our own export adds.

    In a fine-tuned fairseq model, the encoder's settings are nested in those of the classifier, and
    those of the patches in the modality's.
    """
    encoder = _get(settings, "pretrained_model_args", "model")
    encoder = encoder if isinstance(encoder, dict) else settings
    image = _get(encoder, "modalities", "image")
    image = image if isinstance(image, dict) else {}
    flat = {name: torch_file.unwrap(value) for name, value in [*image.items(), *encoder.items()]}
    return {
        name: value
        for name, value in flat.items()
        if isinstance(value, (bool, float, str))
        or (isinstance(value, int) and abs(value) < 1 << 63)
    } | {"asd_jax_front_end": flat.get("asd_jax_front_end")}


def _get(value, *names):
    for name in names:
        value = torch_file.unwrap(value)
        value = value.get(name) if isinstance(value, dict) else None
    return torch_file.unwrap(value)


def _named(path, tensors):
    named = {}
    for key, tensor in tensors.items():
        name = public_name(key) if isinstance(key, str) else None
        if name is None or not hasattr(tensor, "read"):
            raise InputError(f"{path}: {reprlib.repr(key)} among the weights is not a named tensor")
        if name in named:
            raise InputError(f"{path}: two tensors are called {name[:80]!r}")
        named[name] = tensor
    return named


def _from_hub(repository, revision):
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise InputError(
            _offline(
                repository, revision, "huggingface_hub is missing: pip install huggingface_hub"
            )
        ) from error
    # The hub's client raises the exceptions of its HTTP library, which has changed twice, so
    # Exception is caught.
    reason = None
    # This fails at once without a network, whereas downloads retry for half a minute.
    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json", revision=revision))
    except Exception as error:
        reason = error
    try:
        config = Path(
            hf_hub_download(
                repository, "config.json", revision=revision, local_files_only=bool(reason)
            )
        )
        # Both files must come from the same commit, even if `revision` moves on in the meantime.
        commit = config.parent.name
        weights = hf_hub_download(
            repository, "model.safetensors", revision=commit, local_files_only=bool(reason)
        )
        return Path(weights), commit
    except Exception as error:
        reason = str(reason or error).strip() or type(error).__name__
        raise InputError(_offline(repository, revision, reason.splitlines()[0][:200])) from error


def _offline(repository, revision, reason):
    folder = f"weights/{repository.split('/')[1]}"
    urls = "\n".join(
        f"  {HUB}/{repository}/resolve/{revision}/{f}" for f in ("model.safetensors", "config.json")
    )
    return (
        f"{repository}: could not be fetched from the Hugging Face hub ({reason}). Download\n"
        f"{urls}\n"
        f"into the folder {folder} and run\n"
        f"  python -m convert.eat --source={folder} --output={folder}.safetensors"
    )
