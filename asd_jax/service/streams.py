"""Reads network streams (RTSP, HTTP) with FFmpeg's libraries, through PyAV."""

import threading
import time
from collections.abc import Iterator

import av
import numpy as np
from av.error import FFmpegError

from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import STALLED_SECONDS, Item, Reader, Sound, SourceLost

OPEN_SECONDS = 10.0
_NEARLY = 0.9  # of the timeout, which FFmpeg keeps to a tenth of a second


def stream(machine: Machine, *, stalled: float = STALLED_SECONDS) -> Reader:
    """Returns a reader of the first sound track of a stream.

    The reader raises InputError for a channel that does not exist, and SourceLost for every other
    failure, the end of the stream included.
    """
    address = without_password(machine.source)

    def read(stop: threading.Event) -> Iterator[Item]:
        # Over UDP, a lost packet is a click, which may be taken for a fault.
        options = {"rtsp_transport": "tcp"} if machine.source.startswith("rtsp") else {}
        # The sound is live, so a long analysis of the format would delay the first window.
        options["analyzeduration"] = "1000000"
        # PyAV's own timeout for reading does not end a read that blocks in a socket.
        options["rw_timeout"] = str(round(1e6 * stalled))
        try:
            with av.open(
                machine.source, options=options, timeout=(OPEN_SECONDS, stalled)
            ) as container:
                if not container.streams.audio:
                    raise SourceLost(f"{address}: a stream without sound")
                # Codecs differ in sample format; planar floats have a row for each channel.
                resampler = av.AudioResampler(format="fltp")
                latest = time.monotonic()
                for frame in container.decode(container.streams.audio[0]):
                    if stop.is_set():
                        return
                    # After its timeout FFmpeg hands out what it still holds: sound of before the
                    # stall, which must not pass for a sign of life.
                    if time.monotonic() - latest >= _NEARLY * stalled:
                        raise SourceLost(f"{address}: no sound for {stalled:g} s")
                    for part in resampler.resample(frame):
                        wave = _mono(part.to_ndarray(), machine)
                        yield Sound(wave, part.sample_rate, time.time())
                    latest = time.monotonic()
        except FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise SourceLost(f"{address}: {reason}") from error
        raise SourceLost(f"{address}: the stream has ended")

    return read


def _mono(values: np.ndarray, machine: Machine) -> np.ndarray:
    """Returns the chosen channel, or the mean, of samples "c s"."""
    if machine.channel >= len(values):
        raise InputError(f"machine {machine.name}: no channel {machine.channel} of {len(values)}")
    mono = values.mean(0) if machine.channel < 0 else values[machine.channel]
    # Damaged packets may decode to anything.
    return np.nan_to_num(mono).clip(-1, 1).astype(np.float32)


def without_password(address: str) -> str:
    """Returns an address without the name and password in it."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    # What follows ? may hold a key too.
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
