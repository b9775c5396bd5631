"""Writes files like those of `torch.save`, without torch: synthetic and hostile checkpoints for
tests and benchmarks.
"""

import dataclasses
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
}
BLOCK = bytes(1 << 20)


@dataclasses.dataclass(frozen=True)
class Reference:
    """A class or function that a pickle names by module and name."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of `function` that a pickle requests, and the state that it then sets."""

    function: Any
    arguments: tuple
    state: Any = None


@dataclasses.dataclass(eq=False)
class Storage:
    """Raw numbers of one storage.

    A zero-stride array (np.broadcast_to of one zero) takes neither memory nor disk space.
    """

    numbers: np.ndarray


@dataclasses.dataclass(eq=False)
class Tensor:
    """A strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def tensor(array: np.ndarray) -> Tensor:
    """Returns an array as a contiguous tensor with its own storage."""
    strides = [int(np.prod(array.shape[i + 1 :], dtype=np.int64)) for i in range(array.ndim)]
    empty = not any(array.strides)
    flat = np.broadcast_to(array.reshape(-1)[:1], (array.size,)) if empty else array.reshape(-1)
    return Tensor(Storage(flat), 0, array.shape, tuple(strides))


def zeros(shape: tuple[int, ...], dtype=np.float32) -> Tensor:
    """Returns a tensor of zeros that takes no memory."""
    return tensor(np.broadcast_to(np.zeros((), dtype), shape))


def save(path: str | Path, root: Any, byteorder: bytes = b"little") -> None:
    """Writes `root` (dicts, lists, tuples, scalars, tensors, references and calls) as a checkpoint,
    with holes in the file for zeros.
    """
    storages: list[Storage] = []
    data = b"\x80\x02" + _pickle(root, storages) + b"."
    with _Sparse(path, "w") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", byteorder)
        for key, storage in enumerate(storages):
            with archive.open(
                zipfile.ZipInfo(f"archive/data/{key}"), "w", force_zip64=True
            ) as entry:
                _write_numbers(entry, storage.numbers)
        archive.writestr("archive/version", b"3\n")


def _write_numbers(entry, numbers):
    if any(numbers.strides) or numbers.size < len(BLOCK):
        entry.write(np.ascontiguousarray(numbers).tobytes())
        return
    left = numbers.nbytes
    while left:
        left -= entry.write(BLOCK[:left])


class _Sparse(io.FileIO):
    """A file that leaves holes for blocks of zeros."""

    def write(self, data):
        if len(data) < len(BLOCK) or data != BLOCK:
            return super().write(data)
        self.seek(len(data), io.SEEK_CUR)
        return len(data)


def _pickle(value, storages):
    def each(values):
        return b"(" + b"".join(_pickle(v, storages) for v in values)

    match value:
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(digits)]) + digits
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return each(value) + b"t"
        case list():
            return b"]" + each(value) + b"e"
        case dict():
            return b"}" + each(v for pair in value.items() for v in pair) + b"u"
        case Reference():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            state = b"" if value.state is None else _pickle(value.state, storages) + b"b"
            return (
                _pickle(value.function, storages)
                + _pickle(value.arguments, storages)
                + b"R"
                + state
            )
        case Storage():
            if value not in storages:
                storages.append(value)
            kind = Reference("torch", NAMES[value.numbers.dtype.name] + "Storage")
            return (
                _pickle(
                    ("storage", kind, str(storages.index(value)), "cpu", value.numbers.size),
                    storages,
                )
                + b"Q"
            )
        case Tensor():
            ordered = Call(Reference("collections", "OrderedDict"), ())
            arguments = (value.storage, value.offset, value.shape, value.strides, False, ordered)
            return _pickle(
                Call(Reference("torch._utils", "_rebuild_tensor_v2"), arguments), storages
            )
    raise TypeError(f"cannot pickle {type(value).__name__}")
