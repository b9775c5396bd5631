"""Reads a teacher's outputs for a folder of recordings from a file, and finds those of a crop."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.crops import Crop
from asd_jax.runtime.archives import read_npz
from asd_jax.runtime.errors import InputError

# Name, number of axes and kinds of NumPy type of each array.
ARRAYS = {"files": (1, "U"), "frames": (1, "iu"), "vectors": (2, "f")}


class TargetFile:
    """A teacher's frames for recordings, as an npz file stores them.

    The file has three arrays: `files` (paths relative to the folder of recordings, or absolute),
    `frames` (the number of frames of each) and `vectors` (all frames one below the other). The
    frames of a recording lie evenly over its length.

    Attributes:
        path: the file.
        vectors: the frames of all recordings, in the type in which they are stored.
        places: {name of a recording: its rows of `vectors`}.
    """

    def __init__(self, path: str | Path):
        """Reads the file.

        Raises:
            InputError: the file is missing or is not of this form; the message names it.
        """
        self.path = Path(path)
        found = read_npz(self.path)
        for name, (axes, kinds) in ARRAYS.items():
            if name not in found:
                raise InputError(
                    f"{path}: no array {name!r}; a file of targets has {', '.join(ARRAYS)}"
                )
            if found[name].ndim != axes or found[name].dtype.kind not in kinds:
                kind = {"U": "text", "iu": "integers", "f": "floats"}[kinds]
                raise InputError(
                    f"{path}: {name} is {found[name].dtype} of shape {found[name].shape}; expected "
                    f"{kind} with {axes} axes"
                )
        files, frames, self.vectors = (found[name] for name in ARRAYS)
        # Checked before the sum, which could overflow.
        possible = ((frames >= 1) & (frames <= len(self.vectors))).all()
        if len(files) != len(frames) or not possible or frames.sum() != len(self.vectors):
            raise InputError(
                f"{path}: files {files.shape}, frames {frames.shape} with sum {frames.sum()} and "
                f"vectors {self.vectors.shape} do not fit together"
            )
        if not np.isfinite(self.vectors).all():
            raise InputError(f"{path}: NaN or infinity among the vectors")
        ends = np.cumsum(frames)
        self.places = {
            str(file): slice(int(end - count), int(end))
            for file, end, count in zip(files, ends, frames, strict=True)
        }
        if len(self.places) != len(files):
            twice, counts = np.unique(files, return_counts=True)
            raise InputError(f"{path}: has {twice[counts.argmax()]} more than once")

    def of(self, file: Path, root: Path) -> Float[np.ndarray, "t e"] | None:
        """Returns the frames of a recording below `root`, None if the file has none."""
        # The file of targets may name recordings in either way.
        for name in (os.path.relpath(file, root), os.path.abspath(file)):
            if (place := self.places.get(Path(name).as_posix())) is not None:
                return self.vectors[place]
        return None


def crop_frames(
    frames: Float[np.ndarray, "t e"], crop: Crop, count: int
) -> Float[np.ndarray, "c e"]:
    """Returns the means of a recording's frames over `count` equal parts of a crop.

    A crop that is longer than its recording repeats it; so do the frames.
    """
    edges = crop.begin + np.arange(count + 1) / count * crop.samples * crop.speed
    # In frames: how often the recording was repeated before each edge, and where it is.
    repeats, place = np.divmod(edges / crop.length * len(frames), len(frames))
    # The integral of the frames from the beginning of the recording to each edge.
    # float64, as differences of long sums lose digits in float32.
    total = np.pad(np.cumsum(frames, axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    low = place.astype(int)
    within = (place - low)[:, None] * frames[low]
    integral = repeats[:, None] * total[-1] + total[low] + within
    return (np.diff(integral, axis=0) / np.diff(repeats * len(frames) + place)[:, None]).astype(
        np.float32
    )
