"""Locates anomalies by comparing patches with normal patches, as PatchCore (CVPR 2022) does.

Patches are areas in time and frequency. A patch is compared only with normal patches of the same
frequencies, because a sound is normal only in its own frequency range. Its distance is expressed in
standard deviations of the distances that normal patches in that range have to the patches of other
recordings.
"""

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Int

from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.coreset import coreset
from asd_jax.scoring.distances import distances

# Size of a filter-bank patch. Larger patches blur spectral lines, smaller ones are noisy.
FRAMES = 4
FILTERS = 2
# Patches stored per band, and candidates from which they are chosen.
KEPT = 64
CONSIDERED = 1024


def energy_patches(energies: Float[Array | np.ndarray, "b t f"]):
    """Returns the filter-bank patches "b t/4 f/2 2" of log energies (NumPy or JAX).

    A patch holds the means over 4 frames of 2 neighbouring filters.
    """
    times = energies.shape[1] // FRAMES
    bands = energies.shape[2] // FILTERS
    whole = energies[:, : times * FRAMES, : bands * FILTERS]
    return whole.reshape(energies.shape[0], times, FRAMES, bands, FILTERS).mean(2)


@dataclasses.dataclass(frozen=True)
class PatchBank:
    """Normal patches, grouped by frequency band.

    Attributes:
        vectors: patches "f r e", float16.
        recording: number of each patch's recording, "f r".
        usual: "f 2", mean and standard deviation of the distance between a normal patch and those
            of other recordings.
    """

    vectors: Float[np.ndarray, "f r e"]
    recording: Int[np.ndarray, "f r"]
    usual: Float[np.ndarray, "f 2"]

    @classmethod
    def fit(
        cls, vectors: Float[np.ndarray, "f n e"], recording: Int[np.ndarray, "f n"]
    ) -> "PatchBank":
        """Returns a bank of at most 64 normal patches per band.

        If there is only one recording, the distances within it give the mean and the standard
        deviation. Takes O(f n 64 e).

        Args:
            vectors: normal patches "f n e".
            recording: number of each patch's recording, "f n".
        """
        found = [
            _band(own.astype(np.float16), of) for own, of in zip(vectors, recording, strict=True)
        ]
        kept, origin, usual = zip(*found, strict=True)
        return cls(np.stack(kept), np.stack(origin), np.array(usual, np.float32))

    def heat(self, patches: Float[np.ndarray, "t f e"]) -> Float[np.ndarray, "t f"]:
        """Returns the distance "t f" of each patch to the nearest normal patch of its band.

        The values are in standard deviations of normal patches.
        """
        bands = zip(patches.swapaxes(0, 1), self.vectors, self.usual, strict=True)
        found = [
            (nearest(own, normal, 1, "euclidean")[0][:, 0] - mean) / std
            for own, normal, (mean, std) in bands
        ]
        return np.stack(found, axis=1).astype(np.float32)


def over_cells(
    heat: Float[np.ndarray, "t f"], patch: tuple[int, int], frames: int, filters: int
) -> np.ndarray:
    """Returns the heat of patches expanded to "frames filters".

    A patch covers `patch` = (frames, filters) cells. Cells beyond the last whole patch take the
    value of the nearest patch.
    """
    rows = np.minimum(np.arange(frames) // patch[0], heat.shape[0] - 1)
    columns = np.minimum(np.arange(filters) // patch[1], heat.shape[1] - 1)
    return heat[rows[:, None], columns[None]]


class Considered:
    """A uniform random sample, of bounded size, of the patches of any number of recordings."""

    def __init__(self):
        self.random = np.random.default_rng(0)
        self.kept: tuple[np.ndarray, ...] = ()

    def add(self, patches: Float[np.ndarray, "b t f e"], recording: int) -> None:
        """Adds the patches of the windows of one more recording to the sample."""
        patches = patches.reshape(-1, *patches.shape[2:])
        new = (
            self.random.random(len(patches)),
            patches.astype(np.float16),
            np.full(len(patches), recording, np.int32),
        )
        whole = (
            [np.concatenate(parts) for parts in zip(self.kept, new, strict=True)]
            if self.kept
            else new
        )
        # The patches with the smallest random keys are a uniform sample of all patches so far.
        first = np.sort(np.argsort(whole[0], kind="stable")[:CONSIDERED])
        self.kept = tuple(part[first] for part in whole)

    def bands(self) -> tuple[Float[np.ndarray, "f n e"], Int[np.ndarray, "f n"]]:
        """Returns the sampled patches by band "f n e", and the recording of each patch "f n"."""
        _, patches, recording = self.kept
        return patches.swapaxes(0, 1), np.tile(recording, (patches.shape[1], 1))


def _band(vectors, recording):
    rows = coreset(vectors, KEPT)
    distance = distances(vectors.astype(np.float64), vectors[rows].astype(np.float64))
    own = recording[:, None] == recording[rows][None]
    # A patch resembles those of its own recording, so these are ignored unless there are no others.
    distance = np.where(own & ~own.all(), np.inf, distance).min(1)
    # A patch whose kept rivals are all of its own recording has no distance.
    distance = distance[np.isfinite(distance)]
    # Copies of one patch have no deviation, and the heat divides by it.
    return vectors[rows], recording[rows], (distance.mean(), max(distance.std(), 1e-6))
