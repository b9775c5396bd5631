"""Batches of waveforms: the training order, and plain passes over clips, read ahead by threads
(grain).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from asd_jax.data.clips import Clip

Batch = dict[str, np.ndarray]
Reader = Callable[[Any], np.ndarray]  # of a clip, or of one of its windows


class _Source:
    """Clips by number, for grain."""

    def __init__(self, clips: Sequence[Clip], extras: Sequence[dict[str, int]], read: Reader):
        self.clips, self.extras, self.read = clips, extras, read

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Batch:
        numbers = {"clip": index, **self.extras[index]}
        return {"wave": self.read(self.clips[index])} | {
            name: np.asarray(n, np.int32) for name, n in numbers.items()
        }

    def __repr__(self) -> str:  # grain prints it into its error messages
        return f"{len(self.clips)} clips"


class _Share:
    """The i-th of n parts of every batch of an order, one after the other, for grain."""

    def __init__(self, order: grain.MapDataset, batch_size: int, i: int, n: int):
        self.order, self.size, self.part, self.i = order, batch_size, batch_size // n, i

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
) -> Iterator[Batch]:
    """Batches of `epochs` passes over the clips, each in a new order, from batch number `start` on.

    Batch number i is a function of the seed and i alone, so a run resumes by its step. There are
    epochs * clips // batch_size of them: what does not fill the last batch is dropped.

    Args:
        clips: what to train on.
        extras: whole numbers that go with each clip into the batch, e.g. {"label": 3}.
        read: a clip's waveform, all of one length.
        batch_size: clips a batch.
        epochs: passes over the clips.
        seed: of the order.
        start: number of batches already used.
        threads: that read ahead.
        share: (i, n), to read only the i-th of n equal parts of every batch.
    """
    if start >= epochs * len(clips) // batch_size:
        return iter(())
    order = (
        grain.MapDataset.source(_Source(clips, extras, read)).seed(seed).shuffle().repeat(epochs)
    )
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
    """Every clip once, in order, in batches of one size: the last is filled up with its first clip,
    see "clip".
    """
    fill = -len(clips) % batch_size
    numbers = [*range(len(clips)), *[len(clips) - len(clips) % batch_size] * fill]
    source = _Source([clips[n] for n in numbers], [extras[n] for n in numbers], read)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(grain.MapDataset.source(source).batch(batch_size).to_iter_dataset(options))
