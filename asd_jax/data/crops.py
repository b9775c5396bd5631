"""Draws random crops from recordings of any length, without labels, for pre-training on a folder of
sound files.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np

from asd_jax.data.audio import fit_length, resample
from asd_jax.data.clips import TEST_FOLDERS, sound_files
from asd_jax.runtime.errors import InputError

SPEED_SHARE = 0.25  # of crops whose speed is changed, where any is


def training_files(root: str | Path) -> list[Path]:
    """Returns every sound file below a folder in order, except those in test folders of any
    edition.

    Raises:
        InputError: The folder does not exist or contains no sound files.
    """
    files = [
        path
        for path in sound_files(root)
        if TEST_FOLDERS.isdisjoint(part.lower() for part in path.relative_to(root).parts[:-1])
    ]
    if not files:
        raise InputError(
            f"{root}: no recordings outside of the folders of test clips, "
            f"{', '.join(sorted(TEST_FOLDERS))}"
        )
    return files


class Crop(NamedTuple):
    """Where a crop lies in its recording.

    Attributes:
        file: number of the recording.
        begin: its first sample, in the recording.
        samples: its length, as it is used.
        speed: samples of the recording in one sample of the crop.
        length: samples of the recording, which is repeated if the crop goes beyond its end.
    """

    file: int
    begin: int
    samples: int
    speed: float
    length: int

    def cut(self, samples: int, pieces: int) -> "list[Crop]":
        """Returns the first `pieces` pieces of the crop, of the given number of samples each."""
        return [
            self._replace(begin=self.begin + round(n * samples * self.speed), samples=samples)
            for n in range(pieces)
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class RandomCrops:
    """Batches of random crops by step, a source for grain; each depends on seed and step alone.

    Attributes:
        files: Files to draw from, all equally likely.
        read: Returns the waveform of a file.
        clips: Crops b per batch.
        samples: Samples s of each crop. Shorter recordings are repeated.
        seed: Seed of the draws.
        steps: Total number of steps.
        speed: Largest relative change of speed, which a quarter of the crops get.
    """

    files: Sequence[Path]
    read: Callable[[Path], np.ndarray]
    clips: int
    samples: int
    seed: int
    steps: int
    speed: float = 0.0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, list[Crop]]:
        # Seeding by the step makes every batch independent of the steps before it.
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.integers(len(self.files), size=(self.clips,))
        found = [self._crop(int(n), rng) for n in chosen]
        return np.stack([wave for wave, _ in found]), [crop for _, crop in found]

    def _crop(self, file: int, rng: np.random.Generator) -> tuple[np.ndarray, Crop]:
        samples = self.samples
        wave = self.read(self.files[file])
        span = samples
        if self.speed and rng.uniform() < SPEED_SHARE:
            # More or fewer samples of the recording, resampled to one length below.
            span = round(samples * (1 + rng.uniform(-self.speed, self.speed)))
        # Every start at which the crop fits is equally likely, the last one included.
        begin = int(rng.integers(max(len(wave) - span, 0) + 1))
        crop = Crop(file, begin, samples, span / samples, len(wave))
        wave = fit_length(wave[begin : begin + span], span)
        # A resampled crop may be a sample short.
        return fit_length(resample(wave, span, samples), samples), crop

    def __repr__(self) -> str:
        return f"crops of {len(self.files)} recordings"


def crop_batches(
    crops: RandomCrops, *, start: int, threads: int = 4
) -> Iterator[tuple[np.ndarray, list[Crop]]]:
    """Returns the batches (waves "b s", their b places) of the steps after `start`, read ahead by
    a number of threads.
    """
    if start >= crops.steps:
        return iter(())
    # Threads, as decoding and resampling release the interpreter lock.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(grain.MapDataset.source(crops)[start:].to_iter_dataset(options))
