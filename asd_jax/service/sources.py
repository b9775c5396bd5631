"""What a source of sound yields, and how a source that failed is opened again."""

import dataclasses
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from asd_jax.detector.stream import Event
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_error


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

    @property
    def changed_us(self) -> int:
        """Returns the time of change of the recording of a folder, in microseconds."""
        return round(1e6 * self.ended)


class SourceLost(Exception):
    """The source failed for a reason that may pass; the message says which."""


Item = Sound | Event
Reader = Callable[[threading.Event], Iterator[Item]]  # yields until the event is set
# Seconds between two attempts to open a source that failed.
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
# Some drivers and networks fail without an error. A live source that sends nothing for so long has
# stalled, and is opened again.
STALLED_SECONDS = 5.0


def listen(
    read: Reader,
    take: Callable[[Item], None],
    stop: threading.Event,
    *,
    first_wait: float = FIRST_WAIT,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Hands what a reader yields to `take`; opens a source that failed again, until `stop` is set.

    The first failure is an event "source_lost", further ones are not reported until sound came
    again, which is an event "source_back". The wait between two attempts doubles up to
    LONGEST_WAIT. It restarts only after a source has worked for as long, so that one that
    breaks off again and again is not opened every second.
    """
    wait = first_wait
    lost: float | None = None  # when the source failed
    back: float | None = None  # when it gave sound for the first time after that
    while not stop.is_set():
        try:
            for item in read(stop):
                # Only sound shows that a source is back; some open and then say nothing.
                if isinstance(item, Sound) and back is None:
                    back = clock()
                    if lost is not None:
                        take(Event("source_back", f"after {back - lost:.0f} s"))
                take(item)
            return
        except (SourceLost, InputError) as error:
            reason = str(error)
        # A fault of one source must not end the watch over the others.
        except Exception as error:
            print_error(traceback.format_exc())
            reason = f"{type(error).__name__}: {error}"
        now = clock()
        if back is not None or lost is None:
            lost = now
            # A loss is reported once, however often the source is tried again.
            take(Event("source_lost", f"{reason}; trying again"))
        if back is not None and now - back >= LONGEST_WAIT:
            wait = first_wait
        back = None
        stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)
