"""Reads a recording, or the recordings that arrive in a folder."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asd_jax.data.audio import read_clip, sampling_rate, to_float32
from asd_jax.data.decode import open_recording
from asd_jax.data.folders import FileState, file_states, list_recursively
from asd_jax.detector.stream import Event
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Item, Reader, Sound

LOOK_SECONDS = 1.0  # between two looks at a folder


def file(machine: Machine) -> Reader:
    """Returns a reader of one recording.

    With `realtime`, the recording is played now, at its own speed. Otherwise it is read as fast as
    it can be scored, and the file's time of change is taken as the end of the recording.

    Raises:
        InputError: the file is missing or not sound.
    """
    path = Path(machine.source)
    with open_recording(path) as sound:
        rate = sound.rate

    def read(stop: threading.Event) -> Iterator[Item]:
        began = time.monotonic()
        # Only a rehearsal happens now; otherwise the sound is as old as the file.
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
    """Returns the length of a recording in seconds."""
    with open_recording(path) as sound:
        frames = sound.frames  # unknown before decoding if the file is compressed
        return (sum(map(len, sound.blocks())) if frames is None else frames) / sound.rate


def _blocks(path: Path, machine: Machine, rate: int) -> Iterator[np.ndarray]:
    """Yields a tenth of a second of sound at a time."""
    # Blocks are short, so that a file that is played behaves like a microphone.
    step = max(rate // 10, 1)
    with open_recording(path) as sound:
        for block in sound.blocks():
            if machine.channel >= block.shape[1]:
                raise InputError(f"{path}: no channel {machine.channel} of {block.shape[1]}")
            for start in range(0, len(block), step):
                part = to_float32(block[start : start + step])
                yield part.mean(1) if machine.channel < 0 else part[:, machine.channel]


def folder(machine: Machine, store: Store | None = None) -> Reader:
    """Returns a reader of the recordings in a folder and its subfolders, and of those that come.

    A recording is read when its size and time have not changed between two looks, unless the store
    knows it as read: a service that is started again must not raise old alarms again. It is timed
    by the file's time of change, which is taken as the end of the recording.
    """

    def read(stop: threading.Event) -> Iterator[Item]:
        state = _Folder(machine, store)
        while not stop.is_set():
            yield from state.look()
            stop.wait(LOOK_SECONDS)

    return read


class _Folder:
    """What is known of the recordings in the folder of a machine."""

    def __init__(self, machine: Machine, store: Store | None):
        self.path = Path(machine.source)
        self.machine = machine.name
        self.store = store
        self.channel = "mean" if machine.channel < 0 else machine.channel
        self.processed: dict[Path, FileState] = {}
        self.previous: dict[Path, FileState] = {}  # as the last look found them
        # {name: time of change in us} of the files that the store knows as read
        self.recorded = {} if store is None else store.read_files(machine.name)

    def look(self) -> Iterator[Item]:
        """Yields the recordings that are new and have not changed since the last look."""
        files = file_states(list_recursively(self.path).files)
        # An empty folder may be a share that is not mounted.
        if files:
            self._forget_removed(files)
        # Files are read in the order of their changes, so that alarms come in the order of
        # recording.
        for path in sorted(files, key=lambda path: (files[path], path)):
            state = files[path]
            # A file that still grows is looked at again.
            if self.processed.get(path) == state or self.previous.get(path) != state:
                continue
            self.processed[path] = state
            ended = state[0] / 1e9
            if self.recorded.get(self._name(path)) != round(1e6 * ended):
                yield from self._read(path, ended)
        self.previous = files

    def _name(self, path: Path) -> str:
        """Returns the name of a recording in the folder."""
        return path.relative_to(self.path).as_posix()

    def _forget_removed(self, files: dict[Path, FileState]) -> None:
        """Forgets the files that were removed, so that memory and store stay bounded."""
        known = self.processed.keys() | {self.path / name for name in self.recorded}
        removed = known - files.keys()
        if self.store and removed:
            # A store that refuses is tried again at the next look.
            with contextlib.suppress(NotStored):
                self.store.forget_read(self.machine, [self._name(path) for path in removed])
                self.recorded = {
                    name: us
                    for name, us in self.recorded.items()
                    if self.path / name not in removed
                }
        self.processed = {path: state for path, state in self.processed.items() if path in files}

    def _read(self, path: Path, ended: float) -> Iterator[Item]:
        """Yields a recording, or the event that it cannot be read, which is recorded, too."""
        name = self._name(path)
        try:
            rate = sampling_rate(path)
            wave = read_clip(path, sample_rate=rate, channel=self.channel)
        except InputError as error:
            # The event comes once, because the store knows the file afterwards.
            yield Event("unreadable", str(error))
            if self.store:
                with contextlib.suppress(NotStored):
                    self.store.set_read(self.machine, name, round(1e6 * ended))
            return
        # The watcher records that it was read when its windows are scored.
        yield Sound(wave, rate, ended, name)
