"""What a watch over a stream says in tests; its score is the loudest sample."""

import numpy as np
from machine_sound import RATE

from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_bytes import watch_bytes
from asd_jax.detector.watch_settings import WatchSettings

WATCHING = WatchSettings(RATE, 0.5, 0.25, threshold=0.5, release=0.3, confirm=2, hold_seconds=1.0)


def loudest(wave):
    return float(np.abs(wave).max())


def lines_of(wave, chunks=None, settings=WATCHING):
    chunks = [((wave * 32767).astype("<i2").tobytes(), None)] if chunks is None else chunks
    return list(watch_bytes(Watch(settings, loudest), chunks, Decoder(SampleFormat())))


def events(lines, *names):
    return [line for line in lines if line.get("event") in names]
