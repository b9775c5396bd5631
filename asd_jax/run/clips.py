"""Finds the clips of a run, checks that they can be read, cuts them into windows and reads them."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from asd_jax.config import Recordings, RunConfig
from asd_jax.data.audio import fit_length, leveled, read_clip
from asd_jax.data.batches import Reader
from asd_jax.data.cache import ClipCache, screen_clips
from asd_jax.data.clips import EXPECTED_TREE, Clip, find_clips
from asd_jax.data.dcase import check_machines
from asd_jax.data.factory import write_factory
from asd_jax.data.machines import MACHINES
from asd_jax.data.windows import Window, windows_of
from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import PATCH
from asd_jax.run.manifest import check_unchanged, recording_stamps
from asd_jax.run.microphones import check_cancelling
from asd_jax.run.workdir import Run
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import lock_folder
from asd_jax.runtime.log import print_error, print_line
from asd_jax.runtime.settings import to_dict
from asd_jax.runtime.sign_of_life import doing

HOW_TO_GET_DATA = """the DCASE recordings are fetched with
  python -m asd_jax.data.download --year=2024 --output=data/dcase2024
and named with --config.data.root=data/dcase2024; without any data,
  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart
runs on the built-in synthetic machines (--config.data.root=factory)"""


def find_data(config: RunConfig, workdir: Path, *, overwrite: bool = False) -> list[Clip]:
    """Returns the clips that `config.data` names.

    The factory's clips are first written into the workdir.

    Args:
        config: the settings of the run.
        workdir: the folder in which the factory is written.
        overwrite: replace another factory that is there, unless a process works in the workdir.

    Raises:
        InputError: there is no data; the message shows the expected tree, what was found and how to
            get data.
    """
    machines = config.data.machine_names
    root = config.data.root
    if not root:
        raise InputError(
            f"--config.data.root names no folder of recordings; {EXPECTED_TREE}\n{HOW_TO_GET_DATA}"
        )
    if root == "factory":
        root = Run(workdir).factory
        _write_factory(config, root, workdir, overwrite=overwrite)
    try:
        clips = find_clips(root, machines, report=print_error)
    except InputError as error:
        raise InputError(f"{error}\n{HOW_TO_GET_DATA}") from error
    # The factory's machines belong to no edition.
    if config.data.root != "factory":
        check_machines(sorted({clip.machine for clip in clips}), config.data.year)
    if config.data.channel in ("cancelled", "guarded"):
        check_cancelling(config.data, clips)
    return clips


def _write_factory(config: RunConfig, root: Path, workdir: Path, *, overwrite: bool) -> None:
    print_line(f"synthetic machines: {root}")
    # The other processes find the finished set and leave it as it is.
    with processes.first_before_others():
        replace = overwrite and processes.is_first()
        sizes = to_dict(config.factory)
        names = [name.strip() for name in sizes.pop("machines").split(",") if name.strip()]
        # Another run must not read the factory while it is replaced.
        lock = lock_folder(workdir) if replace else contextlib.nullcontext()
        with lock, doing("writing synthetic recordings"):
            write_factory(
                root,
                **sizes,
                clip_seconds=config.data.clip_seconds,
                machines=config.data.machine_names or names or tuple(MACHINES),
                overwrite=replace,
            )


def readable_clips(
    config: RunConfig, clips: Sequence[Clip]
) -> tuple[list[Clip], list[dict[str, str]]]:
    """Returns the clips that can be read, marked by `with_held_out`, and the others.

    Every clip is read once. The others are given as {"file", "reason"}.

    Raises:
        InputError: a clip cannot be read, unless `data.on_bad_clip` is "skip"; or none of a
            machine's training clips can be read.
    """
    kept, skipped = without_unreadable(config, clips)
    readable = {clip.machine for clip in kept if clip.split == "train"}
    # Without any training clip left, a machine has no normal sound to compare with.
    for machine in sorted({clip.machine for clip in clips if clip.split == "train"} - readable):
        own = {clip.path for clip in clips if clip.machine == machine and clip.split == "train"}
        file, reason = next(bad.values() for bad in skipped if bad["file"] in own)
        raise InputError(
            f"machine {machine}: none of its training clips can be read; the first, {file}: "
            f"{reason}"
        )
    return with_held_out(config, kept), skipped


def without_unreadable(
    config: RunConfig, clips: Sequence[Clip]
) -> tuple[list[Clip], list[dict[str, str]]]:
    """Returns the clips that can be read, and {"file", "reason"} of the others.

    Every clip is read once. A clip that cannot be read is an error unless `data.on_bad_clip` is
    "skip".
    """
    return screen_clips(
        clips,
        file_reader(config.data),
        on_bad_clip=config.data.on_bad_clip,
        threads=config.data.threads,
    )


def with_held_out(config: RunConfig, clips: Sequence[Clip]) -> list[Clip]:
    """Returns the clips with `data.held_out` of the normal training clips marked, and prints a
    summary.
    """
    # Printed before hours of work, so that a wrong folder is noticed.
    machines = {clip.machine for clip in clips}
    print_line(f"{len(clips)} clips of {', '.join(sorted(machines))}")
    if untested := sorted(machines - {clip.machine for clip in clips if clip.split == "test"}):
        print_line(f"no test clips of {', '.join(untested)}, which will have no scores")
    return mark_held_out(clips, config.data.held_out, config.seed)


def mark_held_out(clips: Sequence[Clip], fraction: float, seed: int) -> list[Clip]:
    """Returns the clips with a share of the training clips marked as split "held_out".

    The share is drawn separately for each machine, section and domain.
    """
    # Each domain keeps its share, because scores are normalised per domain.
    groups = {}
    for number, clip in enumerate(clips):
        if clip.split == "train":
            groups.setdefault((clip.machine, clip.section, clip.domain), []).append(number)
    rng = np.random.default_rng(seed)
    out = set()
    # Where a group has two clips or more, at least one is held out and one is left.
    for group in groups.values():
        count = min(max(round(fraction * len(group)), 1), len(group) - 1) if fraction else 0
        out |= set(rng.permutation(group)[:count].tolist())
    return [
        dataclasses.replace(clip, split="held_out") if n in out else clip
        for n, clip in enumerate(clips)
    ]


def clip_windows(
    config: RunConfig, clips: Sequence[Clip], *, training: bool = False
) -> list[Window]:
    """Returns the windows of each clip that the encoder processes, as `data.length` specifies.

    For training, all windows have the same length, so "bucket" acts as "fit".

    Raises:
        InputError: the windows are shorter than EAT's patches, or the hop is not positive.
    """
    rate = FrontEnd.sample_rate
    data = config.data
    samples = round(data.clip_seconds * rate)
    hop = round(data.hop_seconds * rate)
    if samples < FrontEnd().samples(PATCH):
        raise InputError(
            f"data.clip_seconds={data.clip_seconds}: too short, EAT needs {PATCH} frames (0.175 s)"
        )
    if hop < 1:
        raise InputError(f"data.hop_seconds={data.hop_seconds} must be positive")
    length = "fit" if training and data.length == "bucket" else data.length
    return windows_of(clips, length=length, samples=samples, hop=hop, sample_rate=rate)


def window_reader(config: RunConfig, clips: Sequence[Clip] = ()) -> Reader:
    """Returns a function that reads a window's waveform at 16 kHz.

    It raises InputError if the recording of one of these clips has changed since this call.
    """
    read = file_reader(config.data)
    # A training of hours must not read some clips as they were and others as they are now.
    stamps = recording_stamps(clips)

    def read_window(window: Window) -> np.ndarray:
        if window.path in stamps:
            check_unchanged(window.path, stamps[window.path])
        wave = fit_length(read(window.path)[window.start :], window.samples, pad=config.data.pad)
        # The level is that of the window, so it is scaled after the cut.
        return leveled(wave) if config.data.level == "normalize" else wave

    return read_window


def file_reader(data: Recordings) -> Callable[[str], np.ndarray]:
    """Returns a function that reads a path's waveform, through the cache if one is configured."""
    # The key is text; digits are the number of a channel.
    channel = int(data.channel) if data.channel.isdigit() else data.channel
    settings = {
        "sample_rate": FrontEnd.sample_rate,
        "channel": channel,
        "resampler": data.resampler,
    }
    if data.cache:
        return ClipCache(data.cache, **settings).read
    return functools.partial(read_clip, **settings)
