"""The embeddings of one machine's clips, which are all that scoring sees of a model."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asd_jax.runtime.archives import read_npz
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.names import check_names

_VALUES = {
    "split": {"train", "test", "held_out", "supplemental"},
    "domain": {"source", "target", "unknown"},
    "label": {0, 1, -1},
}
_AXES = (("clip", "embedding"), ("clip", "band", "embedding"), ("clip", "layer", "embedding"))
_TEXT = ("files", "section", "split", "domain", "attribute")


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Vectors of one machine's clips and the metadata of each clip; every field has length n.

    Attributes:
        vectors: real numbers (n, e), (n, bands, e) or (n, layers, e); float32 in files.
        files: file names.
        section: section of each clip, e.g. "00".
        split: "train", "test", "held_out" (normal clips kept out of training) or "supplemental"
            (not used).
        domain: "source", "target" or "unknown".
        label: integer: 0 normal, 1 anomaly, -1 unknown.
        attribute: attribute string, "" if there is none.
        axes: meaning of the axes of `vectors`: ("clip", "embedding"), ("clip", "band", "embedding")
            or ("clip", "layer", "embedding").
        window_start_seconds: start of each window in its clip, if clips were cut into windows. Each
            row is then a window, and all windows of a clip carry its file name. None if each row is
            a clip.
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
        self._check_axes()
        self._check_columns()
        if self.window_start_seconds is not None:
            self._check_windows()
        if 0 in self.vectors.shape[1:]:
            raise InputError(f"embeddings: vectors {self.vectors.shape}, without any value")
        # Files hold float32, in which larger values would become infinite. NaN fails the comparison
        # too.
        fits = np.abs(self.vectors) <= np.finfo(np.float32).max
        if not fits.all():
            bad = self.files[~fits.reshape(len(fits), -1).all(1)][0]
            raise InputError(
                f"embeddings: NaN or infinity in the vector of {bad}, or a value beyond float32"
            )

    def _check_axes(self) -> None:
        if self.axes not in _AXES:
            raise InputError(f"embeddings: axes {self.axes}; known: {', '.join(map(str, _AXES))}")
        if len(self.axes) != self.vectors.ndim:
            raise InputError(
                f"embeddings: axes {self.axes} name {len(self.axes)} axes of vectors "
                f"{self.vectors.shape}"
            )
        if self.vectors.dtype.kind not in "fiu":
            raise InputError(f"embeddings: vectors of {self.vectors.dtype}, not real numbers")

    def _check_columns(self) -> None:
        # The kinds of NumPy's dtypes: U text; i, u, f, b numbers.
        kinds = {**dict.fromkeys(_TEXT, "U"), "label": "iufb"}
        kinds |= {"window_start_seconds": "iuf"} if self.window_start_seconds is not None else {}
        for name, kind in kinds.items():
            column = getattr(self, name)
            if column.ndim != 1 or (column.dtype.kind not in kind and column.size):
                what = "text" if kind == "U" else "numbers"
                raise InputError(
                    f"embeddings: {name} of {column.dtype} {column.shape}, not {what} (n,)"
                )
            if len(column) != len(self.vectors):
                raise InputError(
                    f"embeddings: {len(self.vectors)} vectors but {len(column)} {name}"
                )
        for name, known in _VALUES.items():
            if wrong := sorted(set(getattr(self, name).tolist()) - known):
                raise InputError(
                    f"embeddings: {name} {wrong[0]!r}; known: {', '.join(map(str, sorted(known)))}"
                )

    def _check_windows(self) -> None:
        # Windows are grouped into clips by file name, so a name may occur in only one section of a
        # split.
        columns = (self.split.tolist(), self.files.tolist(), self.section.tolist())
        for one, other in itertools.pairwise(sorted(set(zip(*columns, strict=True)))):
            if one[:2] == other[:2]:
                raise InputError(
                    f"embeddings: windows of {one[1]} in sections {one[2]} and {other[2]}; "
                    "windows of one name are of one clip, so names must differ"
                )

    def __getitem__(self, index) -> "Embeddings":
        """Returns the rows selected by a mask, a slice or an index array."""
        columns = {name: getattr(self, name)[index] for name in ("vectors", "label", *_TEXT)}
        starts = self.window_start_seconds
        return Embeddings(
            **columns,
            axes=self.axes,
            window_start_seconds=None if starts is None else starts[index],
        )

    def without_vectors(self) -> "Embeddings":
        """Returns the same rows with a single zero as the vector of each."""
        return dataclasses.replace(
            self, vectors=np.zeros((len(self.files), 1), np.float32), axes=("clip", "embedding")
        )

    @classmethod
    def joined(cls, parts: Sequence["Embeddings"]) -> "Embeddings":
        """Returns the concatenation of several parts of one machine's embeddings.

        If any part has windows, the rows of a part without windows start at second 0.
        """
        columns = {
            n: np.concatenate([getattr(part, n) for part in parts])
            for n in ("vectors", "label", *_TEXT)
        }
        starts = None
        if any(part.window_start_seconds is not None for part in parts):
            starts = np.concatenate([part.starts for part in parts])
        return cls(**columns, axes=parts[0].axes, window_start_seconds=starts)

    @property
    def starts(self) -> np.ndarray:
        """Returns the start of each row in its clip, in seconds: 0 if the row is a clip."""
        starts = self.window_start_seconds
        return np.zeros(len(self.files)) if starts is None else starts

    @property
    def clip(self) -> np.ndarray:
        """Returns the number 0, 1, ... of each row's clip, in order of file name.

        Rows with the same number are windows of one clip.
        """
        return np.unique(self.files, return_inverse=True)[1]

    def save(self, path: str | Path) -> None:
        """Writes the embeddings to an npz file, atomically."""
        arrays = {
            "vectors": self.vectors.astype(np.float32, copy=False),
            "label": np.asarray(self.label, np.int64),
        }
        arrays |= {name: np.asarray(getattr(self, name), dtype=str) for name in ("axes", *_TEXT)}
        if self.window_start_seconds is not None:
            arrays["window_start_seconds"] = np.asarray(self.window_start_seconds, np.float64)
        with atomic_file(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Reads the embeddings from an npz file; `axes` may be missing if the vectors are (n, e).

        Raises:
            InputError: the file is not an npz file of embeddings, fields are missing, lengths
                differ, or values are not finite.
        """
        arrays = read_npz(path)
        if missing := {"vectors", "label", *_TEXT} - set(arrays):
            raise InputError(
                f"{path}: lacks {', '.join(sorted(missing))}; see Embeddings for the fields "
                "expected"
            )
        # A hostile file may name any number of axes, all of which the message would list.
        axes = tuple(str(a) for a in np.ravel(arrays.get("axes", ("clip", "embedding")))[:4])
        try:
            columns = {name: arrays[name] for name in ("vectors", "label", *_TEXT)}
            found = cls(
                **columns, axes=axes, window_start_seconds=arrays.get("window_start_seconds")
            )
            for kind, column in (
                ("path", found.files),
                ("section", found.section),
                ("attribute", found.attribute),
            ):
                # Sections become parts of file names, and this file may come from anybody.
                check_names(kind, column.tolist())
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return found


def check_clips(found: Embeddings) -> None:
    """Raises InputError for embeddings whose clips would be rejected in a folder of recordings too.

    These are an anomaly among the normal clips, and two clips with the same name in one split.
    """
    # The bank and the thresholds assume that the clips of these splits are normal.
    normal = np.isin(found.split, ("train", "held_out"))
    if (odd := found.files[normal & (found.label == 1)]).size:
        raise InputError(
            f"{odd[0]} is labelled an anomaly (1) in split train, which is for normal sound only "
            f"({len(odd)} such clips)"
        )
    # Windows of one clip share its name, so equal names are an error only where each row is a clip.
    if found.window_start_seconds is None:
        clips = sorted(zip(found.split.tolist(), map(_basename, found.files), strict=True))
        for one, other in itertools.pairwise(clips):
            if one == other:
                raise InputError(
                    f"two {one[0]} clips of one name, {one[1]}, so scores cannot be assigned; "
                    "windows of one clip have window_start_seconds"
                )


def _basename(file: str) -> str:
    return str(file).rpartition("/")[2]
