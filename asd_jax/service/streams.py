"""Reads network streams (RTSP, HTTP) with FFmpeg's libraries, through PyAV."""

import threading
import time
from collections.abc import Iterator

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Heard, Lost, Reader, Sound

# A stream that sends nothing for so long has stalled; the connection is then made anew.
OPEN_SECONDS, STALLED_SECONDS = 10.0, 5.0


def stream(machine: Machine, *, stalled: float = STALLED_SECONDS) -> Reader:
    """Returns a reader of the first sound track of a stream.

    Its InputError says that a channel does not exist; every other failure is `Lost`.
    """
    import av
    from av.error import FFmpegError

    shown = without_password(machine.source)

    def read(stop: threading.Event) -> Iterator[Heard]:
        options = {"rtsp_transport": "tcp"} if machine.source.startswith("rtsp") else {}
        # The format is known after a second at most, as the sound is live.
        options |= {"analyzeduration": "1000000", "rw_timeout": str(round(1e6 * stalled))}
        try:
            with av.open(
                machine.source, options=options, timeout=(OPEN_SECONDS, stalled)
            ) as container:
                if not container.streams.audio:
                    raise Lost(f"{shown}: a stream without sound")
                resampler = av.AudioResampler(format="fltp")
                for frame in container.decode(container.streams.audio[0]):
                    if stop.is_set():
                        return
                    for part in resampler.resample(frame):
                        wave = _mono(part.to_ndarray(), machine)
                        yield Sound(wave, part.sample_rate, time.time())
        except FFmpegError as error:
            raise Lost(f"{shown}: {error.strerror or type(error).__name__}") from error
        raise Lost(f"{shown}: the stream has ended")

    return read


def _mono(values: np.ndarray, machine: Machine) -> np.ndarray:
    """Returns the chosen channel, or the mean, of samples "c s"."""
    if machine.channel >= len(values):
        raise InputError(f"machine {machine.name}: no channel {machine.channel} of {len(values)}")
    mono = values.mean(0) if machine.channel < 0 else values[machine.channel]
    return np.nan_to_num(mono).clip(-1, 1).astype(np.float32)


def without_password(address: str) -> str:
    """Returns an address without the name and password in it."""
    scheme, _, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    # What follows ? may hold a key too.
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
