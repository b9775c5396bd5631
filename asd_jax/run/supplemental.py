"""Finds the supplemental recordings of DCASE 2025: of a clean machine, or of noise alone."""

import dataclasses
from collections.abc import Callable

import numpy as np

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip, find_clips
from asd_jax.data.noise import noise_adder
from asd_jax.run.clips import file_reader
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line

NOISE = "noise"  # in the name of a clip of noise alone; other names are those of clean machines
CLEAN = "clean"  # the attribute of the classes of clean machines


def clean_clips(config: RunConfig) -> list[Clip]:
    """Returns the clean clips of each machine as training clips of a class of their own.

    The list is empty unless `data.supplemental` is set.

    Raises:
        InputError: there are no such clips.
    """
    if not config.data.supplemental:
        return []
    found = [clip for clip in _supplemental(config) if clip.attribute != NOISE]
    if not found:
        raise InputError(_absent("data.supplemental=True", "clean machines", config))
    print_line(f"{len(found)} supplemental clips of clean machines join the training")
    # A common attribute makes them one class of their machine.
    return [dataclasses.replace(clip, split="train", attribute=CLEAN) for clip in found]


def noise_change(
    config: RunConfig,
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray] | None:
    """Returns the function that adds noise to training clips, None without noise.

    Raises:
        InputError: there are no clips of noise.
    """
    augment = config.augment
    if not augment.noise_probability:
        return None
    noise = [clip for clip in _supplemental(config) if clip.attribute == NOISE]
    if not noise:
        raise InputError(_absent("augment.noise_probability", "noise", config))
    read = file_reader(config.data)
    return noise_adder(
        noise,
        lambda clip: read(clip.path),
        probability=augment.noise_probability,
        low_db=augment.noise_low_db,
        high_db=augment.noise_high_db,
    )


def _supplemental(config: RunConfig) -> list[Clip]:
    root = config.data.root
    names = config.data.machine_names
    # The synthetic factory has no supplemental clips.
    if root == "factory":
        return []
    return find_clips(root, names, splits=["supplemental"])


def _absent(key: str, what: str, config: RunConfig) -> str:
    return (
        f"{key} needs supplemental clips of {what}, but {config.data.root} has none in "
        "<machine>/supplemental (DCASE 2025 has them)"
    )
