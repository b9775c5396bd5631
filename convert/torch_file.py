"""Reads files written by `torch.save`, without torch and without executing anything from the file.

A checkpoint is a zip archive: `data.pkl`, a pickle that describes the objects, which
convert/torch_pickle.py interprets, and one uncompressed entry of raw numbers per storage. Tensors
stay on disk until `Tensor.read`, so an optimizer state takes no memory.

Example:
    checkpoint = read_torch("EAT-base_epoch30_pt.pt")
    patches = checkpoint["model"]["modality_encoders.IMAGE.local_encoder.proj.weight"].read()
"""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from asd_jax.runtime.archives import UNREADABLE, open_archive
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular
from convert.torch_pickle import DAMAGED, StackMachine

# In bytes. A real pickle has less than 1 MB. The largest object that one byte creates, an empty
# set, takes 216 bytes.
LARGEST_PICKLE = 16 << 20


def read_torch(path: str | Path) -> Any:
    """Returns the saved object, with a `Tensor` for every tensor and a `StandIn` for every settings
    object.

    Raises:
        InputError: The file is not a zip checkpoint, is damaged, big-endian or compressed, or has a
            pickle that names anything else.
    """
    archive = _open(Path(path))
    names = archive.namelist()
    # torch.save puts everything into one folder of the archive.
    pickles = [
        name for name in names if PurePosixPath(name).name == "data.pkl" and name.count("/") <= 1
    ]
    if len(pickles) != 1:
        raise InputError(
            f"{path}: a zip archive, but not what torch.save writes (no single data.pkl)"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix + "constants.pkl" in names:
        raise InputError(
            f"{path}: a TorchScript program, not a checkpoint; save the model's state_dict instead"
        )
    if prefix + "byteorder" in names and _entry(archive, prefix + "byteorder", 16) != b"little":
        raise InputError(
            f"{path}: saved on a big-endian machine; load and save it again on a little-endian one"
        )
    machine = StackMachine(archive, prefix)
    try:
        return machine.run(_entry(archive, pickles[0], LARGEST_PICKLE))
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path}: {pickles[0]} is damaged ({type(error).__name__}: {str(error)[:100]})"
        ) from error


def _open(path):
    with open_regular(path) as file:
        start = file.read(2)
    if start != b"PK":
        # A pickle of protocol 2 or later begins with this byte.
        legacy = start[:1] == b"\x80"
        what = (
            "written by torch before 1.6 (or a plain pickle)"
            if legacy
            else "no checkpoint, neither of torch nor safetensors"
        )
        remedy = (
            "; with torch: torch.save(torch.load(FILE, weights_only=True), NEW_FILE)"
            if legacy
            else ""
        )
        raise InputError(f"{path}: {what}{remedy}")
    archive = open_archive(path, "checkpoint, damaged or truncated: download it again")
    names = archive.namelist()
    # Of two entries of one name, another reader might take the other one.
    if len(set(names)) != len(names):
        raise InputError(f"{path}: the archive holds two entries of one name")
    for entry in archive.infolist():
        if (
            entry.filename.startswith("/")
            or "\\" in entry.filename
            or ".." in PurePosixPath(entry.filename).parts
        ):
            raise InputError(
                f"{path}: the archive holds a name that leaves its folder ({entry.filename[:80]!r})"
            )
        if (
            entry.compress_type != zipfile.ZIP_STORED
            or entry.compress_size != entry.file_size
            or entry.flag_bits & 1
        ):
            raise InputError(
                f"{path}: {entry.filename[:80]!r} is compressed or encrypted; torch.save writes "
                "neither"
            )
    return archive


def _entry(archive, name, largest):
    # Before reading: the archive's directory may state any size.
    if archive.getinfo(name).file_size > largest:
        raise InputError(f"{archive.filename}: {name} has more than {largest} bytes")
    try:
        return archive.read(name)
    except UNREADABLE as error:
        raise InputError(f"{archive.filename}: {name} is damaged ({str(error)[:100]})") from error
