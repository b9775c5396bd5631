"""The bytes of a file, of standard input or of a pipe, piece by piece, and when they came."""

import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from asd_jax.data.decode import opened
from asd_jax.detector.stream import Form, wav_encoding
from asd_jax.runtime.errors import InputError

RAW_ENDINGS = ("", ".raw", ".pcm")  # of files that hold nothing but samples
CHUNK = 1 << 16  # bytes read at a time
_QUEUE = 256  # chunks that may wait while a window is scored: at least 16 MiB, minutes of sound


def sound_of_file(path: Path, raw: Form) -> tuple[Form, Iterator[tuple[bytes, None]]]:
    """A file of any length -> (what its bytes mean unless they begin with a wav header, its bytes).

    Compressed files are decoded piece by piece.

    Raises:
        InputError: neither sound that can be decoded nor, by its ending, samples without a header.
    """
    if path.suffix.lower() in RAW_ENDINGS or _for_the_stream(path):
        return raw, chunks_of_file(path)
    try:
        with opened(path) as sound:
            form = Form("f32le", sound.rate, sound.channels)
    except InputError as error:
        raise InputError(
            f"{error}; or call it .raw if it holds samples without a header"
        ) from error
    return form, _decoded(path)


def _for_the_stream(path: Path) -> bool:
    """Whether it is for the decoder of streams, which bears with a wav that is cut or endless."""
    head = next(chunks_of_file(path), (b"", None))[0]
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    form = head.find(b"fmt ", 12)
    return form < 0 or wav_encoding(head[form + 8 :]) is not None


def _decoded(path):
    with opened(path) as sound:
        for block in sound.blocks():
            scale = np.float32(1 / 32768 if block.dtype == np.int16 else 1)
            for start in range(0, len(block), CHUNK):
                yield (block[start : start + CHUNK] * scale).astype("<f4").tobytes(), None


def chunks_of_file(path: str | Path) -> Iterator[tuple[bytes, None]]:
    """A file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk, None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def chunks_of_stream(file: BinaryIO, *, gap_seconds: float = 2.0) -> Iterator[tuple[bytes, float]]:
    """Bytes as they come and when they came, read by a thread so that none are lost while a window
    is scored.

    Empty where nothing came for `gap_seconds`.

    Raises:
        InputError: reading fails, which is not its end.
    """
    came: queue.Queue = queue.Queue(maxsize=_QUEUE)

    def read():
        chunk: bytes | OSError = b"?"
        while chunk and isinstance(chunk, bytes):
            try:
                chunk = os.read(file.fileno(), CHUNK)
            except BlockingIOError:  # of those who share the pipe, one has set it not to block
                select.select([file], [], [])
                continue
            except OSError as error:
                chunk = error
            came.put((chunk, time.perf_counter()))

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            chunk, arrived = came.get(timeout=min(gap_seconds, threading.TIMEOUT_MAX))
        except queue.Empty:
            yield b"", time.perf_counter()
            continue
        if isinstance(chunk, OSError):
            raise InputError(f"the stream cannot be read on ({chunk.strerror or chunk})")
        if not chunk:
            return
        yield chunk, arrived
