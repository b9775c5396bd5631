"""Finds the device that programs are compiled for, and lets each device process its own clips."""

from collections.abc import Callable

import jax


def chosen_device() -> jax.Device | str | None:
    """Returns JAX's default device (or the name of its platform) if one was chosen, else None."""
    # The attribute is made at run time, so pyright does not know it.
    return jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]


def target_device() -> jax.Device:
    """Returns the device that programs are compiled for: JAX's default, else this process's first.

    The default may also be a device that is only described and not present
    (benchmarks/gpu_program.py).
    """
    chosen = chosen_device()
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[0]


def map_own_clips(function: Callable, clips: jax.Array, *whole: jax.Array) -> jax.Array:
    """Returns function(clips, *whole); under a mesh, every device computes it for its own clips.

    This is for operations for which the compiler would gather all clips on every device.

    Args:
        function: its result has the clips as its first axis.
        clips: has the clips as its first axis.
        whole: arrays that are the same on all devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    # Inside shard_map already, every device has its own clips.
    if mesh.size < 2 or mesh.manual_axes:
        return function(clips, *whole)
    own = jax.P(mesh.axis_names)
    specs = (own, *[jax.P()] * len(whole))
    return jax.shard_map(function, in_specs=specs, out_specs=own)(clips, *whole)
