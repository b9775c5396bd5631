"""Embeds what is heard of many clips: in batches of one length each, given back in order."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from asd_jax.data.batches import Reader, clip_batches
from asd_jax.data.windows import Window
from asd_jax.runtime import processes
from asd_jax.runtime.log import progress
from asd_jax.training.loop import memory_for
from asd_jax.training.mesh import one_device, spread

Embed = Callable[[dict[str, jax.Array]], Sequence]


def embed_windows(
    embed: Embed,
    heard: Sequence[Window],
    read: Reader,
    *,
    what: str,
    mesh: Mesh | None = None,
    batch_size: int = 32,
    threads: int = 4,
    extras: Mapping[str, int] | None = None,
) -> list[np.ndarray]:
    """Windows -> for each array "b ..." that `embed` makes of a batch, its rows for all windows "n
    ...", in order.

    Of several processes, each embeds its part, and has all of them in the end. A batch's arrays are
    read when the next batch is on its way, so that the device need not wait.

    Args:
        embed: batch {"wave": "b s", and the extras "b"} -> arrays "b ...", of one shape whatever
            the length.
        heard: the windows; each length makes batches, and a compiled program, of its own.
        read: a window's waveform.
        what: is embedded, for the progress on the screen.
        mesh: the devices that share every batch; None for the first one alone.
        batch_size: windows a batch, rounded up to what the devices can share.
        threads: that read ahead.
        extras: whole numbers that go with every window into the batch.

    Raises:
        InputError: no memory for a batch; what `read` raises.
    """
    mesh = mesh or one_device()
    batch_size += -batch_size % mesh.size
    rows: list = [None] * len(heard)
    for samples in sorted({window.samples for window in heard}):
        places = [place for place, window in enumerate(heard) if window.samples == samples]
        # windows a process; the last is filled up with the first ones
        shared = -(-len(places) // processes.count())
        own = [
            heard[places[(processes.number() * shared + n) % len(places)]] for n in range(shared)
        ]
        batches = clip_batches(
            own, [dict(extras or {})] * len(own), read, batch_size=batch_size, threads=threads
        )
        found, waiting = [], []
        for batch in progress(batches, len(own), what, batch_size):
            with memory_for(batch_size), jax.set_mesh(mesh):
                waiting.append(embed(spread(mesh, batch)))
                if len(waiting) > 1:
                    found += _rows(waiting.pop(0))
        with memory_for(batch_size):
            found += _rows(waiting.pop())
        # the last batch is filled up
        columns = [np.stack(column) for column in zip(*found[:shared], strict=True)]
        for place, *row in zip(places, *map(processes.gather, columns), strict=False):
            rows[place] = row
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _rows(arrays):
    """A batch's arrays -> the tuple of each window."""
    return zip(*(np.asarray(array) for array in arrays), strict=True)
