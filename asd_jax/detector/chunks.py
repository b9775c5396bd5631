"""Reads the bytes of a file, of standard input or of a pipe in chunks, with their arrival times."""

import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from asd_jax.data.audio import to_float32
from asd_jax.data.decode import open_recording
from asd_jax.detector.sample_format import SampleFormat, wav_encoding
from asd_jax.runtime.errors import InputError

RAW_ENDINGS = ("", ".raw", ".pcm")  # file name endings of samples without a header
CHUNK = 1 << 16  # bytes read at a time
_QUEUE = 256  # chunks that may wait while a window is scored: 16 MiB, minutes of sound


def sound_of_file(
    path: Path, raw: SampleFormat
) -> tuple[SampleFormat, Iterator[tuple[bytes, None]]]:
    """Returns (format of raw bytes, chunks of bytes) of a file of any length.

    If the bytes begin with a wav header, the format in the header applies instead. Compressed files
    are decoded in chunks.

    Raises:
        InputError: the file is not sound that can be decoded, and its ending is not that of raw
            samples.
    """
    if path.suffix.lower() in RAW_ENDINGS or _is_stream_wav(path):
        return raw, chunks_of_file(path)
    try:
        with open_recording(path) as sound:
            decoded_format = SampleFormat("f32le", sound.rate, sound.channels)
    except InputError as error:
        raise InputError(
            f"{error}; or call it .raw if it holds samples without a header"
        ) from error
    return decoded_format, _decoded(path)


def _is_stream_wav(path: Path) -> bool:
    """Returns whether a file is a wav that the stream decoder can read.

    The stream decoder accepts truncated and endless files.
    """
    # The default is for an empty file, which yields nothing.
    head = next(chunks_of_file(path), (b"", None))[0]
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    start = head.find(b"fmt ", 12)
    # If the format is not among the first bytes, the stream decoder says what is wrong.
    return start < 0 or wav_encoding(head[start + 8 :]) is not None


def _decoded(path: Path) -> Iterator[tuple[bytes, None]]:
    """Yields the samples of a compressed file as the bytes of floats."""
    with open_recording(path) as sound:
        for block in sound.blocks():
            for start in range(0, len(block), CHUNK):
                part = to_float32(block[start : start + CHUNK])
                yield part.astype("<f4").tobytes(), None


def chunks_of_file(path: str | Path) -> Iterator[tuple[bytes, None]]:
    """Yields the bytes of a file.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk, None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def chunks_of_stream(file: BinaryIO, *, gap_seconds: float = 2.0) -> Iterator[tuple[bytes, float]]:
    """Yields bytes as they arrive, with their arrival times.

    A thread reads the bytes, so that none are lost while a window is scored. The bytes are empty if
    none arrived for `gap_seconds`.

    Raises:
        InputError: reading fails before the end of the stream.
    """
    arrivals: queue.Queue = queue.Queue(maxsize=_QUEUE)

    def read():
        # The first value is anything but empty bytes, which mean the end.
        chunk: bytes | OSError = b"?"
        while chunk and isinstance(chunk, bytes):
            try:
                chunk = os.read(file.fileno(), CHUNK)
            except BlockingIOError:  # another process that shares the pipe made it non-blocking
                select.select([file], [], [])
                continue
            except OSError as error:
                chunk = error
            # An error is handed over like bytes, and raised in the thread of the caller.
            arrivals.put((chunk, time.perf_counter()))

    # A daemon thread does not keep the process alive while it waits for bytes.
    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            # A timeout above TIMEOUT_MAX would raise an OverflowError.
            chunk, arrived = arrivals.get(timeout=min(gap_seconds, threading.TIMEOUT_MAX))
        except queue.Empty:
            yield b"", time.perf_counter()
            continue
        if isinstance(chunk, OSError):
            raise InputError(f"the stream cannot be read on ({chunk.strerror or chunk})")
        if not chunk:
            return
        yield chunk, arrived
