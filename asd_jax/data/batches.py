"""Provides batches of waveforms, in shuffled order for training or in order for a single pass, read
ahead by grain's threads.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from asd_jax.data.clips import Clip

Batch = dict[str, np.ndarray]
# Reads a clip or one of its windows.
Reader = Callable[[Any], np.ndarray]


class _Source:
    """A grain source that returns clips by number."""

    def __init__(self, clips: Sequence[Clip], extras: Sequence[dict[str, int]], read: Reader):
        self.clips = clips
        self.extras = extras
        self.read = read

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Batch:
        numbers = {"clip": index, **self.extras[index]}
        return {"wave": self.read(self.clips[index])} | {
            name: np.asarray(n, np.int32) for name, n in numbers.items()
        }

    # Grain prints this into its error messages.
    def __repr__(self) -> str:
        return f"{len(self.clips)} clips"


class _Share:
    """A grain source of the i-th of n parts of every batch, one part after the other."""

    def __init__(self, order: grain.MapDataset, batch_size: int, i: int, n: int):
        self.order = order
        self.size = batch_size
        self.part = batch_size // n
        self.i = i

    def __len__(self) -> int:
        return len(self.order) // self.size * self.part

    def __getitem__(self, index: int) -> Batch:
        batch, row = divmod(index, self.part)
        return self.order[batch * self.size + self.i * self.part + row]

    def __repr__(self) -> str:
        return f"{len(self)} clips"


def training_batches(
    clips: Sequence[Clip],
    extras: Sequence[dict[str, int]],
    read: Reader,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    start: int = 0,
    threads: int = 4,
    share: tuple[int, int] = (0, 1),
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Returns the batches of `epochs` passes over the clips, each in a new order, from batch
    `start` on.

    Batch number i depends only on the seed and i, so a run can resume at any step. There are epochs
    * clips // batch_size batches: an incomplete last batch is dropped.

    Args:
        clips: The clips to train on.
        extras: Integers that belong to each clip and are added to the batch, e.g. {"label": 3}.
        read: Returns the waveform of a clip. All waveforms must have the same length.
        batch_size: Clips per batch.
        epochs: Number of passes over the clips.
        seed: Seed of the order.
        start: Number of batches already used.
        threads: Number of threads that read ahead.
        share: (i, n) reads only the i-th of n equal parts of every batch.
        change: Maps a waveform and a random generator, which depends on the seed and the place in
            the order alone, to the waveform to train on; None for the waveform itself.
    """
    if start >= epochs * len(clips) // batch_size:
        return iter(())
    order = (
        grain.MapDataset.source(_Source(clips, extras, read)).seed(seed).shuffle().repeat(epochs)
    )
    if change:
        order = order.random_map(lambda clip, rng: clip | {"wave": change(clip["wave"], rng)})
    own = grain.MapDataset.source(_Share(order, batch_size, *share))
    batches = own.batch(batch_size // share[1], drop_remainder=True)[start:]
    return iter(
        batches.to_iter_dataset(
            grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        )
    )


def clip_batches(
    clips: Sequence[Clip],
    extras: Sequence[dict[str, int]],
    read: Reader,
    *,
    batch_size: int,
    threads: int = 4,
) -> Iterator[Batch]:
    """Returns batches of every clip once, in order, all of the same size.

    The last batch is filled by repeating its first clip; the numbers in "clip" show which rows are
    repeated.
    """
    fill = -len(clips) % batch_size
    numbers = [*range(len(clips)), *[len(clips) - len(clips) % batch_size] * fill]
    source = _Source([clips[n] for n in numbers], [extras[n] for n in numbers], read)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(grain.MapDataset.source(source).batch(batch_size).to_iter_dataset(options))
