"""Embeds the windows of many clips, in batches of equal length, and returns the rows in order."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from asd_jax.data.batches import Reader, clip_batches
from asd_jax.data.windows import Window
from asd_jax.runtime import processes
from asd_jax.runtime.log import progress
from asd_jax.training.loop import out_of_memory_advice
from asd_jax.training.mesh import one_device, shard_batch

Embed = Callable[[dict[str, jax.Array]], Sequence]


@dataclasses.dataclass(frozen=True)
class Batching:
    """How windows are put into batches.

    Attributes:
        batch_size: windows per batch, rounded up to a multiple of the number of devices.
        threads: number of threads that read ahead.
        mesh: the devices that share every batch; by default the first one alone.
    """

    batch_size: int = 32
    threads: int = 4
    mesh: Mesh = dataclasses.field(default_factory=one_device)


def embed_windows(
    embed: Embed,
    windows: Sequence[Window],
    read: Reader,
    batching: Batching,
    *,
    what: str,
    extras: Mapping[str, int] | None = None,
) -> list[np.ndarray]:
    """Returns the rows of all windows, "n ..." in order, for each array "b ..." that `embed` makes.

    Of several processes, each embeds a part, and each returns the rows of all. A batch's arrays are
    read only after the next batch has been dispatched, so that the device does not wait.

    Args:
        embed: maps a batch {"wave": "b s", and the extras "b"} to arrays "b ...", whose shape does
            not depend on the length.
        windows: of any lengths; each length has its own batches and its own compiled program.
        read: returns a window's waveform.
        batching: the size of batches, and the devices.
        what: the name of the items, for the progress on the screen.
        extras: integers that are added to the batch for every window.

    Raises:
        InputError: there is not enough memory for a batch, or `read` raises.
    """
    mesh = batching.mesh
    batch_size = batching.batch_size + -batching.batch_size % mesh.size
    rows: list = [None] * len(windows)
    for samples in sorted({window.samples for window in windows}):
        places = [place for place, window in enumerate(windows) if window.samples == samples]
        # Every process needs the same number of windows, so the last one repeats the first windows.
        shared = -(-len(places) // processes.process_count())
        own = [
            windows[places[(processes.process_index() * shared + n) % len(places)]]
            for n in range(shared)
        ]
        batches = clip_batches(
            own,
            [dict(extras or {})] * len(own),
            read,
            batch_size=batch_size,
            threads=batching.threads,
        )
        # Rows of this length; batches of different lengths would be compiled again and again.
        found = []
        waiting = []
        for batch in progress(batches, len(own), what, batch_size):
            # Some operations look up the mesh, so that every device computes its own clips alone.
            with out_of_memory_advice(batch_size), jax.set_mesh(mesh):
                waiting.append(embed(shard_batch(mesh, batch)))
                if len(waiting) > 1:
                    found += _rows(waiting.pop(0))
        # The last batch is still waiting, because no other one followed it.
        with out_of_memory_advice(batch_size):
            found += _rows(waiting.pop())
        # The last batch may be filled up with repeated windows, which are dropped here.
        columns = [np.stack(column) for column in zip(*found[:shared], strict=True)]
        # gather may return more rows than places, because every process has an equal share.
        for place, *row in zip(places, *map(processes.gather, columns), strict=False):
            rows[place] = row
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _rows(arrays):
    """Returns the tuple of values of each window, from a batch's arrays."""
    return zip(*(np.asarray(array) for array in arrays), strict=True)
