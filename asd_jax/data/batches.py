"""Provides batches of waveforms, in shuffled order for training or in order for a single pass, read
ahead by grain's threads.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

Batch = dict[str, np.ndarray]
# Reads a clip or one of its windows.
Reader = Callable[[Any], np.ndarray]
# Maps a waveform and a random generator to the waveform to train on.
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Clips that are read by number, with what belongs to each: a source for grain.

    Attributes:
        clips: The clips, or windows of them.
        extras: Integers that belong to each clip and are added to the batch, e.g. {"label": 3}.
        read: Returns the waveform of a clip. All waveforms must have the same length.
        reads: The name in the batch of what `read` returns.
        change: In training, maps a waveform and a random generator, which depends on the seed and
            the place in the order alone, to the waveform to train on; None for the waveform itself.
    """

    clips: Sequence
    extras: Sequence[dict[str, int]]
    read: Reader
    reads: str = "wave"
    change: Change | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Batch:
        numbers = {"clip": index, **self.extras[index]}
        return {self.reads: self.read(self.clips[index])} | {
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
    examples: Examples,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    start: int = 0,
    share: tuple[int, int] = (0, 1),
    threads: int = 4,
) -> Iterator[Batch]:
    """Returns the batches of `epochs` passes over the examples, each in a new order, from batch
    `start` on.

    Batch number i depends only on the seed and i, so a run can resume at any step. There are epochs
    * clips // batch_size batches: an incomplete last batch is dropped.

    Args:
        examples: The clips to train on.
        batch_size: Clips per batch.
        epochs: Number of passes over the clips.
        seed: Seed of the order.
        start: Number of batches already used.
        share: (i, n) reads only the i-th of n equal parts of every batch.
        threads: Number of threads that read ahead.
    """
    change = examples.change
    if start >= epochs * len(examples) // batch_size:
        return iter(())
    # Grain shuffles each repetition differently.
    order = grain.MapDataset.source(examples).seed(seed).shuffle().repeat(epochs)
    if change:
        order = order.random_map(lambda clip, rng: clip | {"wave": change(clip["wave"], rng)})
    # Every process draws the same order, and reads its own part of each batch.
    own = grain.MapDataset.source(_Share(order, batch_size, *share))
    batches = own.batch(batch_size // share[1], drop_remainder=True)[start:]
    return _read_ahead(batches, threads)


def clip_batches(
    clips: Sequence,
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
    # All batches have one size, so that a jitted function compiles once.
    fill = -len(clips) % batch_size
    numbers = [*range(len(clips)), *[len(clips) - len(clips) % batch_size] * fill]
    examples = Examples([clips[n] for n in numbers], [extras[n] for n in numbers], read)
    return _read_ahead(grain.MapDataset.source(examples).batch(batch_size), threads)


def _read_ahead(batches: grain.MapDataset, threads: int) -> Iterator[Batch]:
    # Two batches per thread bridge a slow read, e.g. of a compressed file.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(batches.to_iter_dataset(options))
