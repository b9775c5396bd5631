"""Reads a recording, or the recordings that arrive in a folder."""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from asd_jax.data.audio import read_clip, sampling_rate
from asd_jax.data.decode import open_recording
from asd_jax.data.folders import list_recursively
from asd_jax.detector.stream import Event
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Item, Reader, Sound

LOOK_SECONDS = 1.0  # between two looks at a folder


def file(machine: Machine) -> Reader:
    """Returns a reader of one recording.

    A machine with `realtime` plays it now, at its own speed. Else it is read as fast as it can be
    scored; the file's time of change is then taken as the end of the recording.

    Raises:
        InputError: the file is missing or not sound.
    """
    path = Path(machine.source)
    with open_recording(path) as sound:
        rate = sound.rate

    def read(stop: threading.Event) -> Iterator[Item]:
        began = time.monotonic()
        first = None if machine.realtime else path.stat().st_mtime - _seconds(path)
        count = 0
        for block in _blocks(path, machine, rate):
            if stop.is_set():
                return
            count += len(block)
            if first is None:
                stop.wait(max(0.0, began + count / rate - time.monotonic()))
            yield Sound(block, rate, time.time() if first is None else first + count / rate)
        yield Event("ended", f"{path.name} has been read to its end")

    return read


def _seconds(path: Path) -> float:
    with open_recording(path) as sound:
        frames = sound.frames  # unknown before decoding if the file is compressed
        return (sum(map(len, sound.blocks())) if frames is None else frames) / sound.rate


def _blocks(path: Path, machine: Machine, rate: int) -> Iterator[np.ndarray]:
    """Yields a tenth of a second of sound at a time."""
    step = max(rate // 10, 1)
    with open_recording(path) as sound:
        for block in sound.blocks():
            scale = np.float32(1 / 32768 if block.dtype == np.int16 else 1)
            if machine.channel >= block.shape[1]:
                raise InputError(f"{path}: no channel {machine.channel} of {block.shape[1]}")
            for start in range(0, len(block), step):
                part = block[start : start + step] * scale
                yield part.mean(1) if machine.channel < 0 else part[:, machine.channel]


def folder(machine: Machine, store: Store | None = None) -> Reader:
    """Returns a reader of the recordings in a folder and its subfolders, and of those that come.

    A recording is read when its size and time have not changed between two looks, unless the store
    knows it as read: a service that is started again must not raise old alarms again. It is timed
    by the file's time of change, which is taken as the end of the recording.
    """
    place = Path(machine.source)
    channel = "mean" if machine.channel < 0 else machine.channel

    def read(stop: threading.Event) -> Iterator[Item]:
        done: dict[Path, tuple[int, int]] = {}
        before: dict[Path, tuple[int, int]] = {}
        known = {} if store is None else store.read_files(machine.name)
        while not stop.is_set():
            there = _recordings(place)
            # Forgetting removed files keeps memory and record bounded. An empty folder may be a
            # share that is not mounted.
            if there:
                gone = (done.keys() | {place / name for name in known}) - there.keys()
                if store and gone and _forgotten(store, machine.name, place, gone):
                    known = {name: of for name, of in known.items() if place / name not in gone}
                done = {path: state for path, state in done.items() if path in there}
            for path in sorted(there, key=lambda path: (there[path], path)):
                if done.get(path) == there[path] or before.get(path) != there[path]:
                    continue
                done[path] = there[path]
                name = path.relative_to(place).as_posix()
                ended = there[path][0] / 1e9
                changed_us = round(1e6 * ended)
                if known.get(name) == changed_us:
                    continue
                try:
                    rate = sampling_rate(path)
                    wave = read_clip(path, sample_rate=rate, channel=channel)
                except InputError as error:
                    yield Event("unreadable", str(error))
                    if store:
                        with contextlib.suppress(NotStored):
                            store.set_read(machine.name, name, changed_us)
                    continue
                # The watcher records that it was read when its windows are scored.
                yield Sound(wave, rate, ended, name)
            before = there
            stop.wait(LOOK_SECONDS)

    return read


def _forgotten(store: Store, machine: str, place: Path, gone: Iterable[Path]) -> bool:
    try:
        store.forget_read(machine, [path.relative_to(place).as_posix() for path in gone])
    except NotStored:  # tried again at the next look
        return False
    return True


def _recordings(place: Path) -> dict[Path, tuple[int, int]]:
    """Returns {recording: (time of change, size)}."""
    there = {}
    for path in list_recursively(place).files:
        try:
            status = path.stat()
        except OSError:  # removed after the listing
            continue
        there[path] = (status.st_mtime_ns, status.st_size)
    return there
