"""The bytes of a file, of standard input or of a pipe, piece by piece, and when they came."""

import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import soundfile

from asd_jax.data.audio import audio_format
from asd_jax.detector.stream import Form
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
    if path.suffix.lower() in RAW_ENDINGS or _plain_wav(path):
        return raw, chunks_of_file(path)
    try:
        _, rate, channels = audio_format(path)
    except InputError as error:
        way_out = (
            f"convert it, e.g. ffmpeg -i {path} sound.wav, or call it .raw if it "
            f"holds samples without a header"
        )
        raise InputError(f"{error}; {way_out}") from error
    return Form("f32le", rate, channels), _decoded(path)


def _plain_wav(path: Path) -> bool:
    """Whether it is for the decoder of streams, which bears with a wav that is cut or endless."""
    try:
        found = soundfile.info(path)
    except (OSError, RuntimeError):
        return path.suffix.lower() == ".wav"
    return found.format in ("WAV", "WAVEX") and found.subtype in (
        "PCM_U8",
        "PCM_16",
        "PCM_24",
        "PCM_32",
        "FLOAT",
    )


def _decoded(path):
    try:
        for block in soundfile.blocks(path, CHUNK, dtype="float32", always_2d=True):
            yield block.astype("<f4").tobytes(), None
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: not readable as audio ({error})") from error


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
    """
    came: queue.Queue = queue.Queue(maxsize=_QUEUE)

    def read():
        chunk = b"?"
        while chunk:
            try:
                chunk = os.read(file.fileno(), CHUNK)
            except OSError:
                chunk = b""
            came.put((chunk, time.perf_counter()))

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            chunk, arrived = came.get(timeout=min(gap_seconds, threading.TIMEOUT_MAX))
        except queue.Empty:
            yield b"", time.perf_counter()
            continue
        if not chunk:
            return
        yield chunk, arrived
