"""safetensors files: what they hold is known, and checked, before any of it is read.

Nothing else in the project reads or writes them.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular, whole_file

LARGEST_HEADER = 32 << 20  # bytes; of a detector it names the recordings
HIGHEST_RANK = 8
DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(bool),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of a safetensors file, still on disk."""

    file: Any = dataclasses.field(repr=False)
    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> np.ndarray:
        """The numbers."""
        try:
            return self.file.get_tensor(self.name)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f"{self.path}: not a readable safetensors file ({error})") from error


def open_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """A safetensors file -> (its metadata, {name: tensor}); only the header is read.

    Raises:
        InputError: no such file, not safetensors, truncated, a header larger than any of ours, a
            tensor of a type or a rank that no model of ours has.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = int.from_bytes(file.read(8), "little")
        if size > LARGEST_HEADER:
            raise InputError(f"{path}: not a readable safetensors file (a header of {size} bytes)")
        # The library compares the header with itself and with the size of the file.
        opened = safetensors.safe_open(path, "numpy")
        tensors = {name: _stored(path, opened, name) for name in opened.keys()}
        return opened.metadata() or {}, tensors
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _stored(path: Path, file: Any, name: str) -> StoredTensor:
    part = file.get_slice(name)
    shape, dtype = tuple(part.get_shape()), str(part.get_dtype())
    if dtype not in DTYPES or len(shape) > HIGHEST_RANK:
        raise InputError(
            f"{path}: tensor {name[:80]!r} of {dtype} with {len(shape)} axes; known: "
            f"{', '.join(DTYPES)} with {HIGHEST_RANK} axes at most"
        )
    return StoredTensor(file, path, name, shape, DTYPES[dtype])


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
    order = sorted(
        tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)
    )  # widest first keeps all aligned
    for name in order:
        shape, dtype = tensors[name].shape, tensors[name].dtype
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _CODES[np.dtype(dtype)],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
