"""Reads a teacher's outputs for a folder of recordings from a file, and finds those of a crop."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.crops import Crop
from asd_jax.runtime.errors import InputError

ARRAYS = {"files": 1, "frames": 1, "vectors": 2}


class TargetFile:
    """A teacher's frames for recordings, as an npz file stores them.

    The file has three arrays: `files` (paths relative to the folder of recordings, or absolute),
    `frames` (the number of frames of each) and `vectors` (all frames one below the other). The
    frames of a recording lie evenly over its length.

    """

    def __init__(self, path: str | Path):
        """Reads the file.

        Raises:
            InputError: the file is missing or is not of this form; the message names it.
        """
        self.path = Path(path)
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in ARRAYS}
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{path}: not a file of targets, an npz with {', '.join(ARRAYS)}: {error}"
            ) from error
        files, frames, vectors = found.values()
        if any(found[name].ndim != axes for name, axes in ARRAYS.items()) or (
            len(files) != len(frames) or frames.sum() != len(vectors) or (frames < 1).any()
        ):
            raise InputError(
                f"{path}: files {files.shape}, frames {frames.shape} and vectors {vectors.shape} "
                "do not fit together"
            )
        if not np.isfinite(vectors).all():
            raise InputError(f"{path}: NaN or infinity among the vectors")
        ends = np.cumsum(frames)
        self.vectors = vectors
        self.places = {
            str(file): slice(int(end - count), int(end))
            for file, end, count in zip(files, ends, frames, strict=True)
        }

    def of(self, file: Path, root: Path) -> Float[np.ndarray, "t e"] | None:
        """Returns the frames of a recording below `root`, None if the file has none."""
        relative = file.relative_to(root).as_posix() if file.is_relative_to(root) else ""
        place = self.places.get(relative) or self.places.get(file.as_posix())
        return None if place is None else self.vectors[place].astype(np.float32)


def crop_frames(
    frames: Float[np.ndarray, "t e"], crop: Crop, count: int
) -> Float[np.ndarray, "c e"]:
    """Returns the frames of a recording at `count` places evenly spread over a crop.

    A crop that is longer than its recording repeats it; so do the frames.
    """
    at = (crop.begin + (np.arange(count) + 0.5) / count * crop.samples * crop.speed) % crop.length
    place = at / crop.length * len(frames) - 0.5
    low = np.floor(place).astype(int)
    part = (place - low)[:, None].astype(np.float32)
    low, high = (np.clip(index, 0, len(frames) - 1) for index in (low, low + 1))
    return (1 - part) * frames[low] + part * frames[high]
