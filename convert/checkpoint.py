"""Opens a public EAT checkpoint from a file, a folder or the Hugging Face hub as named tensors that
stay on disk.
"""

import dataclasses
import hashlib
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256, open_regular, read_json
from asd_jax.training.tensors import open_tensors
from convert.places import ENDINGS, Place, check_start, local_place
from convert.table import FAIRSEQ_PARTS, public_name
from convert.torch_file import read_torch
from convert.torch_pickle import unwrap

HUB = "https://huggingface.co"
LARGEST_CONFIG = 1 << 20  # bytes
# The keys under which training programs save a model's state_dict: fairseq, Lightning and others.
STATES = ("model", "state_dict", "model_state_dict")
PROJECTION = "local_encoder.proj.weight"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A public checkpoint.

    Attributes:
        path: The file that holds the weights, the first of several shards.
        files: All files that hold weights.
        name: The name to record in a header: the hub id or the file's name, never a local path.
        layout: "fairseq" or "huggingface".
        tensors: The student's tensors, by the names of the table.
        teacher: The EMA teacher's tensors, by the same names; empty if the file has none.
        settings: The model's configuration: fairseq's `cfg["model"]` or `config.json`; None if
            there is none.
    """

    path: Path
    files: tuple[Path, ...]
    name: str
    layout: str
    tensors: Mapping[str, Any]
    teacher: Mapping[str, Any]
    settings: Mapping[str, Any] | None

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def sha256(self) -> str:
        """The hash of the file; of several, that of the text of their hashes in order."""
        hashes = [file_sha256(path) for path in self.files]
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )


def open_checkpoint(source: str | Path, revision: str = "main") -> Checkpoint:
    """Returns the checkpoint in a file, a folder or a hub repository `owner/name`.

    A folder holds `model.safetensors`, `pytorch_model.bin`, shards of either with their index, or
    one other weight file; or it is a repository in the hub's cache. A file of torch may hold a
    state_dict itself, or one under "model", "state_dict" or "model_state_dict".

    Raises:
        InputError: The file does not exist, there is no network, or the file is not a checkpoint.
    """
    path = Path(source)
    if path.exists():
        return _opened(local_place(path))
    # A missing weight file must not be taken for a hub id.
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", str(source)) or path.suffix in ENDINGS:
        raise InputError(f"{source}: no such file or folder, and no hub id (owner/name)")
    path, commit = _from_hub(str(source), revision)
    return _opened(Place((path,), {}, f"{source}@{commit}"))


def is_ours(source: str | Path) -> bool:
    """Returns whether `source` is one of our own weight files."""
    try:
        return "asd_jax" in open_tensors(source)[0]
    # Why the file cannot be opened is reported when it is opened as a public one.
    except InputError:
        return False


def _opened(place: Place) -> Checkpoint:
    """Returns the checkpoint of one file, or of shards put together.

    Raises:
        InputError: A shard holds a tensor that its index does not say, or lacks one.
    """
    path = place.files[0]
    if not place.index:
        student, teacher, settings = _read(path)
    else:
        student = {}
        teacher = {}
        settings = None
        for file in place.files:
            tensors, _, own = _read(file)
            settings = settings or own
            for name, tensor in tensors.items():
                if place.index.get(name) != file.name:
                    shard = place.index.get(name, "in no shard")
                    raise InputError(
                        f"{file}: holds {name[:80]!r}, which the index says is {shard}"
                    )
                student[name] = tensor
        if missing := sorted(set(place.index) - set(student)):
            raise InputError(
                f"{path}: {len(missing)} tensors of the index are in no shard: {missing[0][:80]!r}"
            )
    config = _config_beside(path)
    # A pickle may have keys of any type.
    fairseq = any(FAIRSEQ_PARTS[0][0] in name for name in student if isinstance(name, str))
    return Checkpoint(
        path=path,
        files=place.files,
        name=place.name,
        layout="fairseq" if fairseq else "huggingface",
        tensors=_named(path, student),
        teacher=_named(path, teacher),
        settings=settings if settings is not None else config,
    )


def _read(path: Path):
    """Returns (student's tensors, teacher's tensors, settings or None) of one file."""
    try:
        with open_regular(path) as file:
            # A tar archive shows itself only after 257 bytes.
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    # A safetensors file begins with 8 bytes of header length, followed by JSON.
    if start[8:9] == b"{":
        metadata, tensors = open_tensors(path)
        if "asd_jax" in metadata:
            raise InputError(
                f"{path}: already holds asd_jax weights; --to=huggingface takes them back out"
            )
        return tensors, {}, None
    check_start(path, start)
    return _read_torch(path)


def _read_torch(path: Path):
    saved = read_torch(path)
    if not isinstance(saved, dict):
        raise InputError(f"{path}: holds a {type(saved).__name__}, no state_dict of named tensors")
    model = next((saved[key] for key in STATES if isinstance(saved.get(key), dict)), None)
    # A state_dict by itself shows by its values: tensors can be read.
    plain = model is None and any(hasattr(value, "read") for value in saved.values())
    if model is None and not plain:
        keys = ", ".join(reprlib.repr(key) for key in list(saved)[:9]) or "nothing"
        raise InputError(
            f"{path}: no named tensors here, neither a state_dict itself nor one under "
            f"{', '.join(STATES)}; found {keys}"
        )
    # A copy, because the teacher is taken out.
    model = dict(saved if plain else model)
    # fairseq keeps the EMA teacher among the student's tensors.
    teacher = model.pop("_ema", {})
    settings = None if plain else _get(saved, "cfg", "model") or _get(saved, "args")
    if not isinstance(teacher, dict) or not isinstance(settings or {}, dict):
        raise InputError(f"{path}: `_ema` or the configuration is not a dictionary")
    return model, teacher, settings


def _config_beside(path: Path) -> dict[str, Any] | None:
    """Returns the content of the config.json that belongs to a weight file; None without one."""
    # The first belongs to this weight file alone, the second to all files of the folder.
    for candidate in (path.with_name(path.stem + "_config.json"), path.with_name("config.json")):
        if candidate.is_file():
            return read_json(candidate, largest=LARGEST_CONFIG)
    return None


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
    flat = {name: unwrap(value) for name, value in [*image.items(), *encoder.items()]}
    return {
        name: value
        for name, value in flat.items()
        if isinstance(value, (bool, float, str))
        # A pickle may hold integers of megabytes, with which arithmetic takes hours.
        or (isinstance(value, int) and abs(value) < 1 << 63)
    } | {"asd_jax_front_end": flat.get("asd_jax_front_end")}


def _get(value, *names):
    for name in names:
        value = unwrap(value)
        value = value.get(name) if isinstance(value, dict) else None
    return unwrap(value)


def _named(path, tensors):
    named = {}
    for key, tensor in tensors.items():
        name = public_name(key) if isinstance(key, str) else None
        if name is None or not hasattr(tensor, "read"):
            raise InputError(f"{path}: {reprlib.repr(key)} among the weights is not a named tensor")
        if name in named:
            raise InputError(f"{path}: two tensors are called {name[:80]!r}")
        named[name] = tensor
    return _without_prefix(path, named)


def _without_prefix(path, named):
    """Returns the tensors by their names in EAT, where it is a part of a larger model.

    What comes before the name of the patch projection is what the larger model calls its EAT.
    """
    prefixes = [name.removesuffix(PROJECTION) for name in named if name.endswith(PROJECTION)]
    if len(prefixes) > 1:
        parts = ", ".join(repr(prefix[:60]) for prefix in prefixes[:4])
        raise InputError(
            f"{path}: holds {len(prefixes)} models, under {parts}: save the state_dict() of one"
        )
    # At most one, and none if the file is no EAT, which is reported later.
    prefix = "".join(prefixes)
    found = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    if len(found) < len(named):
        raise InputError(f"{path}: tensors of one name with and without {prefix[:60]!r}")
    return found


def _from_hub(repository, revision):
    # huggingface_hub is optional.
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
