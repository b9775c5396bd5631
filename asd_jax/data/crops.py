"""Draws random crops from recordings of any length, without labels, for pre-training on a folder of
sound files.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grain
import numpy as np

from asd_jax.data.audio import fit_length
from asd_jax.data.clips import TEST_FOLDERS, sound_files
from asd_jax.runtime.errors import InputError


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


def crop_batches(
    files: Sequence[Path],
    read: Callable[[Path], np.ndarray],
    *,
    clips: int,
    samples: int,
    seed: int,
    start: int,
    steps: int,
    threads: int = 4,
) -> Iterator[np.ndarray]:
    """Yields batches "b s" of random crops for the steps start + 1 to `steps`.

    Each batch depends only on the seed and its step.

    Args:
        files: Files to draw from, all equally likely.
        read: Returns the waveform of a file.
        clips: Crops b per batch.
        samples: Samples s of each crop. Shorter recordings are repeated.
        seed: Seed of the draws.
        start: Number of steps already done.
        steps: Total number of steps.
        threads: Number of threads that read ahead.
    """
    if start >= steps:
        return iter(())
    source = _Crops(files, read, clips, samples, seed, steps)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(grain.MapDataset.source(source)[start:].to_iter_dataset(options))


class _Crops:
    def __init__(self, files, read, clips, samples, seed, steps):
        self.files, self.read, self.shape, self.seed, self.steps = (
            files,
            read,
            (clips, samples),
            seed,
            steps,
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> np.ndarray:
        # Seeding by the step makes every batch independent of the steps before it.
        rng, (clips, samples) = np.random.default_rng([self.seed, step]), self.shape
        chosen = rng.integers(len(self.files), size=(clips,))
        return np.stack([self._crop(self.read(self.files[n]), samples, rng) for n in chosen])

    def _crop(self, wave, samples, rng):
        begin = rng.integers(max(len(wave) - samples, 0) + 1)
        return fit_length(wave[begin : begin + samples], samples)

    def __repr__(self) -> str:
        return f"crops of {len(self.files)} recordings"
