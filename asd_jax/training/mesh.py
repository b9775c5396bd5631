"""Several devices: what of a training state and of a batch lies on which; one device is a mesh of
one.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asd_jax.runtime.errors import InputError

Tree = TypeVar("Tree")
AXES = ("data", "shard")  # clips are spread over both, parameters over the second
LEAST = 4096  # values: asking other devices for a smaller array costs more than keeping it


def one_device() -> Mesh:
    """The first device of this process alone."""
    return Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), AXES)


def own_devices() -> Mesh:
    """The devices of this process, for work that asks no other."""
    one = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue] made at run time
    return Mesh(np.array([one] if one else jax.local_devices()).reshape(-1, 1), AXES)


def make_mesh(batch_size: int, *, parts: int = 1, shards: int = 1) -> Mesh:
    """All devices of all processes as (copies of the state, devices that share one copy).

    JAX's own `jax_default_device` limits it to that one.

    Args:
        batch_size: clips a step, over all devices.
        parts: that a step takes them in, one after the other.
        shards: devices that share one copy of parameters and optimiser state (fully sharded data
            parallel, Zhao et al., VLDB 2023); 1: each has its own copy; 0: all share one.

    Raises:
        InputError: devices that the batch, or copies that the devices, cannot be divided among.
    """
    one = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue] made at run time
    devices = (
        [one]
        if one
        else sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    )
    count = len(devices)
    if shards < 0 or count % (shards or count):
        raise InputError(
            f"parallel.shards={shards} does not divide the {count} devices here; 0 means all"
        )
    if batch_size % (parts * count):
        raise InputError(
            f"optimizer.batch_size={batch_size} clips"
            + (f" in optimizer.accumulate={parts} parts" if parts > 1 else "")
            + f" cannot be divided among {count} devices; try --config.optimizer.batch_size="
            f"{batch_size + -batch_size % (parts * count)}"
        )
    return Mesh(np.array(devices).reshape(-1, shards or count), AXES)


def spec_of(mesh: Mesh | AbstractMesh, leaf: Any) -> P:
    """Over which axis an array of a state is shared out: the longest that can be divided, none of a
    small array.
    """
    shards = mesh.shape["shard"]
    axes = [axis for axis, size in enumerate(leaf.shape) if size % shards == 0]
    if shards == 1 or leaf.size < LEAST or not axes:
        return P()
    longest = max(axes, key=lambda axis: leaf.shape[axis])
    return P(*[None] * longest, "shard")


def shardings(mesh: Mesh, state: Tree) -> Tree:
    """A state's arrays -> where each lies."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, spec_of(mesh, leaf)), state)


def place(mesh: Mesh, state: Tree) -> Tree:
    """A state that every process has whole -> the same, lying where `shardings` says."""

    def put(leaf, sharding):
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        return jax.make_array_from_callback(leaf.shape, sharding, np.asarray(leaf).__getitem__)

    return jax.tree.map(put, state, shardings(mesh, state))


def replicated(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays of this process -> whole on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def whole(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays as they lie on the mesh -> whole, on the first device of each process."""
    gather = jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))
    return jax.tree.map(lambda array: array.addressable_data(0), gather(tree))


def spread(mesh: Mesh, batch: dict[str, Any]) -> dict[str, jax.Array]:
    """A process's share of a batch -> the batch of all processes, its clips spread over the
    devices.
    """
    sharding = NamedSharding(mesh, P(AXES))
    return {
        name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()
    }


def own_share(mesh: Mesh) -> tuple[int, int]:
    """(i, n): this process's devices take the i-th of n equal parts of every batch."""
    return (jax.process_index(), jax.process_count()) if mesh.is_multi_process else (0, 1)


def own_part(mesh: Mesh, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch that every process made whole -> this one's part of it, for `spread`."""
    i, n = own_share(mesh)
    return {
        name: rows if n == 1 else np.split(np.asarray(rows), n)[i] for name, rows in batch.items()
    }


def own_rows(array: jax.Array) -> np.ndarray:
    """The rows of an array spread by clip that lie on this process's devices."""
    return np.concatenate([np.asarray(shard.data) for shard in array.addressable_shards])


# Within a compiled step, under `jax.sharding.use_abstract_mesh`; without a mesh they change
# nothing.


def gathered(params: Tree) -> Tree:
    """Parameters, whole on every device."""
    return _laid_out(params, lambda mesh, leaf: P())


def shared_out(gradients: Tree) -> Tree:
    """What is computed of parameters, as `shardings` lays out the parameters themselves."""
    return _laid_out(gradients, spec_of)


def by_clip(batch: Tree, axis: int = 0) -> Tree:
    """Arrays whose given axis is clips, spread over the devices."""
    return _laid_out(batch, lambda mesh, leaf: P(*[None] * axis, AXES))


def _laid_out(tree: Tree, spec: Callable[[Any, Any], P]) -> Tree:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, spec(mesh, leaf)), tree)
