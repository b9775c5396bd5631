"""Keeps all training clips on the device in 16 bits, so that each training step draws its own
batch.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from asd_jax.data.audio import to_int16
from asd_jax.data.batches import Reader
from asd_jax.data.clips import Clip
from asd_jax.runtime.errors import InputError

# Share of the device's memory that the clips may take. The training step needs the rest.
ROOM = 0.5


def resident_clips(
    clips: Sequence[Clip], extras: Sequence[dict[str, int]], read: Reader, *, threads: int = 4
) -> dict[str, Shaped[Array, "r ..."]]:
    """Returns the waveforms, numbers and extras of all clips as arrays on the device.

    The arrays are "wave" (int16, clips x samples), "clip" (int32, the position of each clip in
    `clips`) and one int32 array for each key of `extras`.

    Args:
        clips: The clips to train on.
        extras: Integers that belong to each clip, e.g. {"label": 3}.
        read: Returns the waveform of a clip in [-1, 1]. All waveforms must have the same length.
        threads: Number of reading threads.

    Raises:
        InputError: The clips do not fit into the device's memory, or one cannot be read.
    """
    # Its length is that of all, and gives the room needed before anything is read.
    first = read(clips[0])
    _check_room(len(clips) * len(first) * 2)
    waves = np.empty((len(clips), len(first)), np.int16)

    def fill(number: int) -> None:
        # Half the memory of float32, without loss for 16-bit recordings.
        waves[number] = to_int16(read(clips[number]))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(len(clips))))
    columns = {name: np.array([extra[name] for extra in extras], np.int32) for name in extras[0]}
    return jax.device_put({"wave": waves, "clip": np.arange(len(clips), dtype=np.int32), **columns})


def draw_batch(
    data: dict[str, Shaped[Array, "r ..."]],
    step: Int[Array, ""],
    key: PRNGKeyArray,
    batch_size: int,
) -> dict[str, Shaped[Array, "b ..."]]:
    """Returns the batch of a training step, with waveforms in [-1, 1]; for use inside jit.

    Every pass over the clips has a new order that depends only on the key and the number of the
    pass, so a run can resume at any step.
    """
    clips = len(data["clip"])
    position = step * batch_size + jnp.arange(batch_size)
    first = position[0] // clips
    # A batch can span several passes.
    passes = first + jnp.arange(2 + batch_size // clips)
    orders = jax.vmap(lambda one: jax.random.permutation(jax.random.fold_in(key, one), clips))(
        passes
    )
    chosen = orders[position // clips - first, position % clips]
    batch = {name: values[chosen] for name, values in data.items()}
    return batch | {"wave": batch["wave"].astype(jnp.float32) / 32768}


def _check_room(needed: int) -> None:
    # Devices without memory statistics, such as CPUs, are not checked.
    there = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if there and needed > ROOM * there:
        raise InputError(
            f"data.resident: the training clips take {needed / 1e9:.1f} GB, more than half of the "
            f"device's {there / 1e9:.1f} GB; set --config.data.resident=False"
        )
