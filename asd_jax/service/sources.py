"""Opens the source of a machine's sound and yields it as timestamped blocks."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.detector.stream import Event
from asd_jax.service.configuration import Machine


@dataclasses.dataclass(frozen=True)
class Sound:
    """A block of sound.

    Attributes:
        wave: mono samples in [-1, 1].
        rate: sampling rate in Hz.
        ended: time at which the last sample was recorded, in seconds since 1970.
        file: recording of a folder that the block comes from; "" for a stream. Windows never span
            two recordings.
    """

    wave: Float[np.ndarray, "s"]
    rate: int
    ended: float
    file: str = ""


class Lost(Exception):
    """The source failed for a reason that may pass; the message says which."""


Heard = Sound | Event
Reader = Callable[[threading.Event], Iterator[Heard]]  # yields until the event is set
# Seconds between two attempts to open a source that failed.
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0


def reader_of(machine: Machine) -> tuple[Reader, bool]:
    """Returns (function that yields the sound of a machine, whether the source is live).

    A live source goes on whether or not anyone listens; files wait for their reader.
    """
    from asd_jax.service import files, pipes, streams

    source = machine.source
    if source == "-":
        return pipes.standard_input(machine), True
    if source.startswith("alsa:"):
        return pipes.alsa(machine), True
    if "://" in source:
        return streams.stream(machine), True
    if Path(source).is_dir():
        return files.folder(machine), False
    return files.file(machine), machine.realtime


def reconnecting(
    read: Reader,
    stop: threading.Event,
    *,
    first_wait: float = FIRST_WAIT,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Heard]:
    """Yields what a reader yields; opens the source again whenever it fails, until `stop` is set.

    The wait doubles from failure to failure up to LONGEST_WAIT, and begins anew after sound came.
    Each failure is an event "lost", and the first sound after it an event "found".
    """
    wait, lost = first_wait, None
    while not stop.is_set():
        try:
            for item in read(stop):
                if isinstance(item, Sound) and lost is not None:
                    yield Event("found", f"the source is back after {clock() - lost:.0f} s")
                    wait, lost = first_wait, None
                yield item
            return
        except Lost as error:
            yield Event("lost", f"{error}; trying again")
            lost = clock() if lost is None else lost
            stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
