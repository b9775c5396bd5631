"""Reads and writes safetensors files; their content is checked before any tensor is read.

This is the only module that accesses such files.
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
from asd_jax.runtime.files import atomic_file, open_regular

LARGEST_HEADER = 32 << 20  # bytes; the header of a detector lists its recordings
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


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file whose values are still on disk."""

    file: Any = dataclasses.field(repr=False)
    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> np.ndarray:
        """Returns the values of the tensor.

        Raises:
            InputError: the file cannot be read.
            MemoryError: there is no memory for the tensor.
        """
        try:
            return self.file.get_tensor(self.name)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f"{self.path}: not a readable safetensors file ({error})") from error
        # The header was checked, so that only a lack of memory makes the library panic. Its class
        # is no Exception, and cannot be imported.
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise MemoryError(f"for the tensor {self.name} of {self.path}") from error


def open_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Returns the metadata and {name: tensor} of a safetensors file, of which only the header is
    read.

    Example:
        metadata, tensors = open_tensors("weights.safetensors")
        tensors["eat/cls"].read()

    Raises:
        InputError: the file does not exist, is not a safetensors file or is truncated, its header
            is larger than any of this project, or a tensor has a type or a rank that none of our
            models has.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            # The library would allocate whatever size the file claims.
            size = int.from_bytes(file.read(8), "little")
        if size > LARGEST_HEADER:
            raise InputError(f"{path}: not a readable safetensors file (a header of {size} bytes)")
        # The library checks that the header is consistent and that it fits the size of the file.
        opened = safetensors.safe_open(path, "numpy")
        tensors = {name: _stored(path, opened, name) for name in opened.keys()}
        return opened.metadata() or {}, tensors
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _stored(path: Path, file: Any, name: str) -> StoredTensor:
    # A slice tells shape and type without reading any value.
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    dtype = str(part.get_dtype())
    if dtype not in DTYPES or len(shape) > HIGHEST_RANK:
        raise InputError(
            f"{path}: tensor {name[:80]!r} of {dtype} with {len(shape)} axes; known: "
            f"{', '.join(DTYPES)} with {HIGHEST_RANK} axes at most"
        )
    return StoredTensor(file, path, name, shape, DTYPES[dtype])


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Any], metadata: dict[str, str]
) -> None:
    """Writes a safetensors file atomically, with only one tensor in memory at a time.

    The library's own writer needs all tensors in memory.

    Args:
        path: the file; its folder is created.
        tensors: by name, any objects with `.shape`, `.dtype` and `__array__`, which may read from
            disk.
        metadata: text for the file's header.
    """
    # The header comes first, so all places are computed before any tensor is read.
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    # Writing the widest types first keeps all tensors aligned.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    for name in order:
        shape = tensors[name].shape
        dtype = tensors[name].dtype
        start = end
        end = end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _CODES[np.dtype(dtype)],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    # Padding the header aligns the data to 8 bytes.
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            # As bytes, because Python's buffers do not know bfloat16.
            file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
