"""Finds the weight files that a local path names: a file, a folder, shards, or the cache of the
Hugging Face hub.
"""

import dataclasses
import json
import re
from pathlib import Path

from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import open_regular, read_json
from asd_jax.runtime.names import check_name

# What a folder may hold, in the order in which it is looked for; the public loaders' names.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
LARGEST_INDEX = 16 << 20  # bytes; 300 tensors take 30 kB
# The first bytes of what is often saved in the place of a checkpoint, and what to do about it.
_NO_CHECKPOINT = (
    (
        rb"version https://git-lfs",
        "a Git LFS pointer, not the weights themselves: run git lfs pull in its repository, or "
        "download the file itself",
    ),
    (
        rb"\s*<(!doctype|html|head|\?xml)",
        "an HTML page, not a checkpoint: the address is that of a page; on the Hugging Face hub "
        "files are at .../resolve/main/..., not at .../blob/main/...",
    ),
    (rb"\x1f\x8b", "a gzip archive: unpack it and name the checkpoint in it"),
    (rb".{257}ustar", "a tar archive: unpack it and name the checkpoint in it"),
    (rb"\x89HDF", "an HDF5 file, as Keras writes; EAT is published for PyTorch only"),
    (rb"\s*[{\[]", "JSON text: name the file or the folder of the weights"),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one checkpoint.

    Attributes:
        files: The files with the weights: one, or the shards in the order of their names.
        index: {tensor: shard}, as the index of a sharded checkpoint says; empty for one file.
        name: The name to record in a header: never a local path.
    """

    files: tuple[Path, ...]
    index: dict[str, str]
    name: str


def local_place(path: Path) -> Place:
    """Returns the files of the checkpoint at a path that exists.

    Raises:
        InputError: The folder holds no checkpoint or several, or the index is wrong.
    """
    name = path.name
    if path.is_dir():
        folder = _snapshot(path)
        path = _in_folder(folder)
        name = _hub_name(folder) or path.name
    if not path.name.endswith(".index.json"):
        return Place((path,), {}, name)
    index = _read_index(path)
    files = tuple(path.with_name(shard) for shard in sorted(set(index.values())))
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(f"{path}: {len(missing)} of {len(files)} shards are missing: {missing[0]}")
    return Place(files, index, name)


def check_start(path: Path, start: bytes) -> None:
    """Checks that the first bytes of a file may be those of a checkpoint.

    Raises:
        InputError: They are those of another kind of file, which the message names.
    """
    if not start:
        raise InputError(f"{path}: an empty file; download it again")
    for pattern, meaning in _NO_CHECKPOINT:
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            raise InputError(f"{path}: {meaning}")


def _snapshot(folder: Path) -> Path:
    """Returns the newest snapshot of a repository in the hub's cache, or the folder itself."""
    snapshots = folder if folder.name == "snapshots" else folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    # The cache keeps every commit that was ever fetched.
    there = sorted(path for path in snapshots.iterdir() if path.is_dir())
    # The file names the commit that the branch main points to.
    main = snapshots.with_name("refs") / "main"
    if main.is_file():
        with open_regular(main) as file:
            commit = file.read(100).decode(errors="replace").strip()
        there = [path for path in there if path.name == commit] or there
    # Several commits without a branch: nothing says which one is meant.
    if len(there) != 1:
        found = ", ".join(path.name for path in there) or "nothing"
        raise InputError(f"{snapshots}: holds {found}; name the folder of one commit in it")
    return there[0]


def _hub_name(folder: Path) -> str:
    """Returns owner/name@commit of a snapshot in the hub's cache, "" for another folder."""
    repository = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not repository.startswith("models--"):
        return ""
    # The cache writes owner/name as models--owner--name.
    return f"{repository.removeprefix('models--').replace('--', '/')}@{folder.name}"


def _in_folder(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())
    if len(others) == 1:
        return others[0]
    if others:
        names = ", ".join(path.name for path in others[:9])
        raise InputError(f"{folder}: holds {len(others)} weight files: {names}; name one of them")
    raise InputError(
        f"{folder}: no model.safetensors in this folder, and no {', '.join(WEIGHTS[1:])} or single "
        f"{', '.join(ENDINGS)} file"
    )


def _read_index(path: Path) -> dict[str, str]:
    """Returns {tensor: shard} of the index of a sharded checkpoint.

    Raises:
        InputError: The index is not readable, names a tensor twice, or a file elsewhere.
    """
    index = read_json(path, largest=LARGEST_INDEX).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise InputError(f"{path}: no weight_map, which names the shard of each tensor")
    # A dictionary keeps the last of two equal keys, so the text is read once more.
    with open_regular(path) as file:
        json.loads(file.read(), object_pairs_hook=lambda pairs: _unique(path, pairs))
    for shard in index.values():
        with error_context(str(path)):
            if not isinstance(shard, str):
                raise InputError(f"weight_map: {str(shard)[:40]!r} is no file name")
            check_name("file", shard)
    return index


def _unique(path, pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: {twice[:80]!r} is there twice")
    return found
