"""Reads sound from standard input and, through arecord, from ALSA devices."""

import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from asd_jax.detector.stream import Decoder, Event
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import STALLED_SECONDS, Item, Reader, Sound, SourceLost

CHUNK = 1 << 14  # bytes
_FORMATS = {
    "u8": "U8",
    "s16le": "S16_LE",
    "s24le": "S24_3LE",
    "s32le": "S32_LE",
    "f32le": "FLOAT_LE",
}


def standard_input(machine: Machine) -> Reader:
    """Returns a reader of raw samples or wav on standard input, which ends with it."""

    def read(stop: threading.Event) -> Iterator[Item]:
        yield from _decode(sys.stdin.fileno(), machine, stop)
        if not stop.is_set():
            yield Event("ended", "standard input has ended")

    return read


def alsa(machine: Machine, *, stalled: float = STALLED_SECONDS) -> Reader:
    """Returns a reader of an ALSA device by means of the program arecord.

    Raises:
        InputError: arecord is not installed.
    """
    if shutil.which("arecord") is None:
        raise InputError(
            f"source={machine.source}: arecord is missing (Debian: apt install alsa-utils)"
        )
    device = machine.source.removeprefix("alsa:") or "default"
    command = ["arecord", "-q", "-D", device, "-t", "raw", "-f", _FORMATS[machine.encoding]]
    command += ["-r", str(machine.rate), "-c", str(machine.channels)]

    def read(stop: threading.Event) -> Iterator[Item]:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                yield from _decode(process.stdout.fileno(), machine, stop, stalled)
            finally:
                # arecord does not notice that nobody reads, so it would hold the device.
                process.kill()
            # Its last line says why it ended; the limit bounds the memory.
            errors = process.stderr.read(2000).decode(errors="replace").strip()
        if not stop.is_set():
            reason = errors.splitlines()[-1] if errors else "no message"
            raise SourceLost(f"arecord has ended ({reason})")

    return read


def _decode(
    number: int, machine: Machine, stop: threading.Event, stalled: float = float("inf")
) -> Iterator[Item]:
    """Yields the sound of a file descriptor until its end.

    Raises:
        SourceLost: nothing came for `stalled` seconds.
    """
    channel = None if machine.channel < 0 else machine.channel
    decoder = Decoder(machine.sample_format, channel=channel, name=f"machine {machine.name}")
    latest = time.monotonic()
    while not stop.is_set():
        # A read that blocks would never notice `stop`.
        if not select.select([number], [], [], min(0.5, stalled))[0]:
            if time.monotonic() - latest >= stalled:
                raise SourceLost(f"{machine.source}: no sound for {stalled:g} s")
            continue
        chunk = os.read(number, CHUNK)
        latest = time.monotonic()
        # The last sample of a chunk was recorded when the chunk arrived.
        now = time.time()
        for item in decoder.feed(chunk) if chunk else decoder.finish():
            yield item if isinstance(item, Event) else Sound(item, decoder.format.rate, now)
        if not chunk:
            return
