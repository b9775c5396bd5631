"""Where a sound is odd: its patches in time and frequency against patches of normal sounds
(PatchCore, CVPR 2022).

A patch is compared with normal patches of its own frequencies only, since a sound belongs where it
is heard. Its distance counts in standard deviations of the distances that normal patches have there
to those of other recordings.
"""

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Int

from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.normal_bank import coreset

FRAMES, FILTERS = 4, 2  # of a filter-bank patch; larger ones blur lines, smaller ones are noise
KEPT, CONSIDERED = 64, 1024  # patches a band that are stored, and that they are chosen from


def energy_patches(energies: Float[Array | np.ndarray, "b t f"]):
    """Log energies (NumPy or JAX) -> filter-bank patches "b t/4 f/2 2": means over 4 frames, 2
    filters side by side.
    """
    times, bands = energies.shape[1] // FRAMES, energies.shape[2] // FILTERS
    whole = energies[:, : times * FRAMES, : bands * FILTERS]
    return whole.reshape(energies.shape[0], times, FRAMES, bands, FILTERS).mean(2)


@dataclasses.dataclass(frozen=True)
class PatchBank:
    """Normal patches, band by band.

    Attributes:
        vectors: "f r e", float16.
        recording: "f r", the recording that each comes from.
        usual: "f 2", mean and standard deviation of the distance of a normal patch to those of
            other recordings.
    """

    vectors: Float[np.ndarray, "f r e"]
    recording: Int[np.ndarray, "f r"]
    usual: Float[np.ndarray, "f 2"]

    @classmethod
    def fit(
        cls, vectors: Float[np.ndarray, "f n e"], recording: Int[np.ndarray, "f n"]
    ) -> "PatchBank":
        """Normal patches of each band and their recordings -> a bank of at most 64 a band.

        Of one recording alone, the usual distances are those within it. O(f n 64 e).
        """
        found = [
            _band(own.astype(np.float16), of) for own, of in zip(vectors, recording, strict=True)
        ]
        kept, origin, usual = zip(*found, strict=True)
        return cls(np.stack(kept), np.stack(origin), np.array(usual, np.float32))

    def heat(self, patches: Float[np.ndarray, "t f e"]) -> Float[np.ndarray, "t f"]:
        """Patches of a window -> how far each is from the nearest normal one of its band."""
        bands = zip(patches.swapaxes(0, 1), self.vectors, self.usual, strict=True)
        found = [
            (nearest(own, normal, 1, "euclidean")[0][:, 0] - mean) / std
            for own, normal, (mean, std) in bands
        ]
        return np.stack(found, axis=1).astype(np.float32)


def over_cells(
    heat: Float[np.ndarray, "t f"], patch: tuple[int, int], frames: int, filters: int
) -> np.ndarray:
    """Heat of patches of so many frames and filters -> "frames filters"; what no patch covers takes
    the nearest's.
    """
    rows = np.minimum(np.arange(frames) // patch[0], heat.shape[0] - 1)
    columns = np.minimum(np.arange(filters) // patch[1], heat.shape[1] - 1)
    return heat[rows[:, None], columns[None]]


class Considered:
    """An even sample of the patches of any number of recordings, of bounded size."""

    def __init__(self):
        self.random = np.random.default_rng(0)
        self.kept: tuple[np.ndarray, ...] = ()

    def add(self, patches: Float[np.ndarray, "b t f e"], recording: int) -> None:
        """Takes the patches of one more recording, in windows, into account."""
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
        first = np.sort(np.argsort(whole[0], kind="stable")[:CONSIDERED])
        self.kept = tuple(part[first] for part in whole)

    def bands(self) -> tuple[Float[np.ndarray, "f n e"], Int[np.ndarray, "f n"]]:
        """The sample by band, and the recording of each patch."""
        _, patches, recording = self.kept
        return patches.swapaxes(0, 1), np.tile(recording, (patches.shape[1], 1))


def _band(vectors, recording):
    from scipy.spatial.distance import cdist

    rows = coreset(vectors, KEPT)
    distance = cdist(vectors.astype(np.float64), vectors[rows].astype(np.float64))
    own = recording[:, None] == recording[rows][None]
    distance = np.where(own & ~own.all(), np.inf, distance).min(1)
    distance = distance[np.isfinite(distance)]
    return vectors[rows], recording[rows], (distance.mean(), max(distance.std(), 1e-6))
