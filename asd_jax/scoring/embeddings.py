"""Embeddings of one machine's clips: the only thing scoring sees of a model."""

import dataclasses
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asd_jax.errors import InputError
from asd_jax.files import whole_file

_VALUES = {
    "split": {"train", "test", "held_out", "supplemental"},
    "domain": {"source", "target", "unknown"},
    "label": {0, 1, -1},
}
_TEXT = ("files", "section", "split", "domain", "attribute")


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Vectors of one machine and what is known of each clip, all of length n.

    Attributes:
        vectors: float32 (n, e), (n, bands, e) or (n, layers, e).
        files: file names.
        section: e.g. "00".
        split: "train", "test" or "held_out" (normal clips kept out of training).
        domain: "source", "target" or "unknown".
        label: int, 0 normal, 1 anomaly, -1 unknown.
        attribute: attribute string, "" if none.
        axes: what the axes of `vectors` are, e.g. ("clip", "embedding") or ("clip", "band", "embedding").
        window_start_seconds: where windows were cut, the start of each: the rows are windows then, and those of one
            clip carry its file name. None where a row is a clip.
    """

    vectors: np.ndarray
    files: np.ndarray
    section: np.ndarray
    split: np.ndarray
    domain: np.ndarray
    label: np.ndarray
    attribute: np.ndarray
    axes: tuple[str, ...] = ("clip", "embedding")
    window_start_seconds: np.ndarray | None = None

    def __post_init__(self):
        for name in (*_TEXT, "label"):
            if len(getattr(self, name)) != len(self.vectors):
                raise InputError(f"embeddings: {len(self.vectors)} vectors but {len(getattr(self, name))} {name}")
        if len(self.axes) != self.vectors.ndim:
            raise InputError(f"embeddings: axes {self.axes} name {len(self.axes)} axes of {self.vectors.shape}")
        for name, known in _VALUES.items():
            if wrong := sorted(set(getattr(self, name).tolist()) - known):
                raise InputError(f"embeddings: {name} {wrong[0]!r}; known: {', '.join(map(str, sorted(known)))}")
        if not np.issubdtype(self.vectors.dtype, np.number):
            raise InputError(f"embeddings: vectors of {self.vectors.dtype}, not numbers")
        if not np.isfinite(self.vectors).all():
            bad = self.files[~np.isfinite(self.vectors).reshape(len(self.vectors), -1).all(1)][0]
            raise InputError(f"embeddings: NaN or infinity in the vector of {bad}")

    def __getitem__(self, index) -> "Embeddings":
        """The clips that a mask, slice or index array picks."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Embeddings(**{k: v if k == "axes" or v is None else v[index] for k, v in fields.items()})

    @classmethod
    def joined(cls, parts: Sequence["Embeddings"]) -> "Embeddings":
        """Parts of one machine's embeddings, one after the other; a part without windows begins at second 0."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in dataclasses.fields(cls)}
        starts, axes = columns.pop("window_start_seconds"), columns.pop("axes")[0]
        if any(column is not None for column in starts):
            whole = [np.zeros(len(part.files)) for part in parts]
            starts = [zeros if column is None else column for column, zeros in zip(starts, whole, strict=True)]
        else:
            starts = None
        joined = {name: np.concatenate(column) for name, column in columns.items()}
        return cls(**joined, axes=axes, window_start_seconds=starts and np.concatenate(starts))

    @property
    def clip(self) -> np.ndarray:
        """For each row the number of its clip, 0, 1, ... in order of file name; rows of one clip are its windows."""
        return np.unique(self.files, return_inverse=True)[1]

    def save(self, path: str | Path) -> None:
        """Writes the contract's npz, atomically."""
        arrays = {name: np.asarray(getattr(self, name), dtype=str) for name in _TEXT}
        if self.window_start_seconds is not None:
            arrays["window_start_seconds"] = np.asarray(self.window_start_seconds, np.float64)
        with whole_file(path) as file:
            np.savez(
                file,
                vectors=self.vectors.astype(np.float32, copy=False),
                label=np.asarray(self.label, np.int64),
                axes=np.asarray(self.axes, dtype=str),
                **arrays,
            )

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Reads the contract's npz; `axes` may be absent for (n, e) vectors.

        Raises:
            InputError: not such a file, fields missing, lengths that differ, values that are not finite.
        """
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("not a zip archive, or a truncated one")
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: not a readable npz file ({error})") from error
        if missing := {"vectors", "label", *_TEXT} - set(arrays):
            raise InputError(f"{path}: lacks {', '.join(sorted(missing))}; see Embeddings for the fields expected")
        axes = tuple(str(a) for a in arrays.get("axes", ("clip", "embedding")))
        try:
            return cls(
                arrays["vectors"],
                *(arrays[n] for n in ("files", "section", "split", "domain")),
                arrays["label"],
                arrays["attribute"],
                axes,
                arrays.get("window_start_seconds"),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
