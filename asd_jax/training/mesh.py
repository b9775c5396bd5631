"""Places training states and batches on several devices; a single device is a mesh of size one."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asd_jax.models.devices import chosen_device
from asd_jax.runtime.errors import InputError

Tree = TypeVar("Tree")
AXES = ("data", "shard")  # clips are spread over both axes, parameters over the second
LEAST = 4096  # values; fetching a smaller array from other devices costs more than keeping it


def one_device() -> Mesh:
    """Returns a mesh of this process's first device alone."""
    # A single device has both axes too, so that the same code serves every mesh.
    return Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), AXES)


def own_devices() -> Mesh:
    """Returns a mesh of this process's devices, for work that involves no other process."""
    one = chosen_device()
    return Mesh(np.array([one] if one else jax.local_devices()).reshape(-1, 1), AXES)


def make_mesh(batch_size: int, *, parts: int = 1, shards: int = 1) -> Mesh:
    """Returns the mesh of all devices of all processes: (copies of the state, devices per copy).

    If JAX's `jax_default_device` is set, the mesh has that device alone.

    Args:
        batch_size: clips per step, over all devices.
        parts: number of parts into which a step divides the batch, one after the other.
        shards: number of devices that share one copy of parameters and optimiser state (fully
            sharded data parallel, Zhao et al., VLDB 2023); 1: each has its own copy; 0: all share
            one.

    Raises:
        InputError: the batch cannot be divided among the devices, or the devices among the copies.
    """
    one = chosen_device()
    # All processes must list the devices in the same order.
    devices = (
        [one]
        if one
        else sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    )
    count = len(devices)
    if shards < 0 or count % (shards or count):
        raise InputError(f"`shards={shards}` does not divide the {count} devices here; 0 means all")
    if batch_size % (parts * count):
        raise InputError(
            f"`batch_size={batch_size}` clips"
            + (f" in `accumulate={parts}` parts" if parts > 1 else "")
            + f" cannot be divided among {count} devices; try "
            f"`batch_size={batch_size + -batch_size % (parts * count)}`"
        )
    return Mesh(np.array(devices).reshape(-1, shards or count), AXES)


def spec_of(mesh: Mesh | AbstractMesh, leaf: Any) -> P:
    """Returns the axis over which an array of a state is sharded.

    This is the longest axis that can be divided evenly; small arrays are not sharded.
    """
    shards = mesh.shape["shard"]
    axes = [axis for axis, size in enumerate(leaf.shape) if size % shards == 0]
    if shards == 1 or leaf.size < LEAST or not axes:
        return P()
    longest = max(axes, key=lambda axis: leaf.shape[axis])
    return P(*[None] * longest, "shard")


def shardings(mesh: Mesh, state: Tree) -> Tree:
    """Returns the sharding of each array of a state."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, spec_of(mesh, leaf)), state)


def place_state(mesh: Mesh, state: Tree) -> Tree:
    """Returns a state, which every process has in full, placed as `shardings` specifies."""

    def put(leaf, sharding):
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        # Devices of other processes cannot be written to, so each process fills its own.
        return jax.make_array_from_callback(leaf.shape, sharding, np.asarray(leaf).__getitem__)

    return jax.tree.map(put, state, shardings(mesh, state))


def replicated(mesh: Mesh, tree: Tree) -> Tree:
    """Returns arrays of this process with a full copy on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def fetch_whole(mesh: Mesh, tree: Tree) -> Tree:
    """Returns arrays of the mesh in full, on the first device of each process."""
    # By a program, as only a program can move arrays between processes.
    gather = jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))
    # Every device of the process has a full copy; the first one's is enough.
    return jax.tree.map(lambda array: array.addressable_data(0), gather(tree))


def shard_batch(mesh: Mesh, batch: dict[str, Any]) -> dict[str, jax.Array]:
    """Returns the batch of all processes, with its clips spread over the devices.

    Each process passes its own share of the batch.
    """
    sharding = NamedSharding(mesh, P(AXES))
    return {
        name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()
    }


def process_share(mesh: Mesh) -> tuple[int, int]:
    """Returns (i, n): this process's devices process the i-th of n equal parts of every batch."""
    return (jax.process_index(), jax.process_count()) if mesh.is_multi_process else (0, 1)


def process_part(mesh: Mesh, batch: dict[str, Any]) -> dict[str, Any]:
    """Returns this process's part of a batch that every process has in full, for `shard_batch`."""
    i, n = process_share(mesh)
    return {
        name: rows if n == 1 else np.split(np.asarray(rows), n)[i] for name, rows in batch.items()
    }


def process_rows(array: jax.Array) -> np.ndarray:
    """Returns the rows, of an array that is spread by clip, that lie on this process's devices."""
    return np.concatenate([np.asarray(shard.data) for shard in array.addressable_shards])


# The following functions are called inside a compiled step, under
# `jax.sharding.use_abstract_mesh`. Without a mesh they change nothing.


def gather_params(params: Tree) -> Tree:
    """Returns parameters in full on every device."""
    return _laid_out(params, lambda mesh, leaf: P())


def shard_gradients(gradients: Tree) -> Tree:
    """Returns gradients placed like the parameters that they belong to."""
    return _laid_out(gradients, spec_of)


def shard_by_clip(batch: Tree, axis: int = 0) -> Tree:
    """Returns arrays spread over the devices along the given axis, which is that of clips."""
    return _laid_out(batch, lambda mesh, leaf: P(*[None] * axis, AXES))


def _laid_out(tree: Tree, spec: Callable[[Any, Any], P]) -> Tree:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, spec(mesh, leaf)), tree)
