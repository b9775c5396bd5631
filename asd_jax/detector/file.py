"""Saves a detector as one safetensors file, and loads it.

Files that were truncated, altered or manipulated are rejected.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flax.traverse_util import flatten_dict

from asd_jax.detector.header import Header, header_of
from asd_jax.detector.restoring import restored_attributes
from asd_jax.detector.tables import check_tables, tables_of
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names
from asd_jax.runtime.schema import build_checked
from asd_jax.scoring.scorers import scorers_of
from asd_jax.training.weights import (
    BOX,
    Pipeline,
    abstract_encoder,
    fill_template,
    finite_values,
    open_weights,
    origin_entries,
    read_weights,
    save_weights,
)

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector


def save(path: str | Path, detector: "Detector") -> None:
    """Writes a detector atomically; the same detector gives the same bytes with the same versions.

    The encoder that comes with the package is not written to the file, only its hash.
    """
    tensors = tables_of(detector)
    pipeline = detector.pipeline
    # The packaged encoder need not be stored, because every installation has it.
    if pipeline is not None and dict(detector.origin) != origin_entries(BOX):
        tensors |= {
            f"encoder/{name}": np.asarray(value)
            for name, value in flatten_dict(pipeline.params, sep="/").items()
        }
    header = header_of(detector)
    save_weights(path, tensors, header | {"sha256": _digest(tensors, header)})


def load_attributes(path: str | Path) -> dict:
    """Returns the attributes of the detector in a file.

    Raises:
        InputError: the file is missing, truncated, altered, of another kind or of a newer format.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such detector; python -m asd_jax.detect fit --normal=DIR --output={path} "
            "makes one"
        )
    stored, entries = open_weights(path, kinds=("detector",))
    entries = {name: value for name, value in entries.items() if name != "format"}
    # It covers everything but itself and the format, which open_weights has checked.
    checksum = entries.pop("sha256", None)
    # Earlier versions did not store which scorers vote.
    if "voting" not in entries:
        raise InputError(
            f"{path}: of an earlier version, whose threshold knows nothing of sessions: fit the "
            "detector again"
        )
    try:
        header = build_checked(
            Header, {name: value for name, value in entries.items() if name != "kind"}
        )
        check_names("attribute", header.names)  # these are paths if a list named the recordings
        # The shapes are checked before the numbers are read and used.
        check_tables(stored, header.scoring, scorers_of(header.scoring))
        encoder = _encoder(stored, header, path)
        tensors = {name: finite_values(tensor) for name, tensor in stored.items()}
        # A checksum finds damage only. Whoever alters a file on purpose can write a new one, hence
        # all the other checks.
        if checksum != _digest(tensors, entries):
            raise InputError(
                "altered since it was written (its checksum does not fit); fit the detector again"
            )
        return restored_attributes(tensors, header, encoder)
    # Some messages name the file already.
    except InputError as error:
        raise InputError(
            f"{path}: {error}" if str(path) not in str(error) else str(error)
        ) from error


def _encoder(tensors, header: Header, path) -> Pipeline | None:
    """Returns the encoder of the file, or the packaged one that its header names."""
    if header.encoder is None:
        return None
    weights = {
        name.removeprefix("encoder/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("encoder/")
    }
    weights = weights or _packaged_weights(header.origin)
    return Pipeline(header.encoder, fill_template(abstract_encoder(header.encoder), weights, path))


def _packaged_weights(origin: dict[str, str]) -> dict[str, np.ndarray]:
    """Returns the weights of the packaged encoder, if the detector was fitted with that encoder."""
    if origin != origin_entries(BOX):
        raise InputError(
            f"fitted with an encoder that does not come with this version of asd_jax ({origin}); "
            "fit the detector again, or load it with the version that wrote it"
        )
    return read_weights(BOX)[0]


def _digest(tensors, header) -> str:
    """Returns the SHA-256 of the tensors and the header."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        # The same bytes under another name, type or shape would be another detector.
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
