"""Receives a recording from a client and scores it; bounded in size, in time and in number."""

import asyncio
import functools
import io
import tempfile
from pathlib import Path
from typing import IO

from fastapi import HTTPException, Request

from asd_jax.data.audio import audio_format, read_clip
from asd_jax.detector.detector import Detector
from asd_jax.detector.rows import row
from asd_jax.detector.verdicts import verdicts_of
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Web

AT_ONCE = 2  # recordings that are received or scored; further clients are told to wait
UPLOAD_SECONDS = 60.0  # in which a recording must have come
# of a form that anybody may send
FORM_SECONDS = 5.0
FORM_BYTES = 4096


class Uploads:
    """Scores the recordings that clients send."""

    def __init__(self, web: Web):
        self.web = web
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def verdict(self, request: Request, detector: Detector) -> dict:
        """Returns the verdict on the body of a request, for JSON.

        Raises:
            HTTPException: it is too large or too slow, or others are being scored.
            InputError: it is not sound, or too long.
        """
        # Refused rather than queued: a queue would hold connections open.
        if self._slots.locked():
            raise HTTPException(429, "busy with other recordings", {"Retry-After": "5"})
        async with self._slots:
            try:
                with tempfile.NamedTemporaryFile(prefix="asd_jax_") as file:
                    await _receive(request, file, round(self.web.upload_mb * 1e6), UPLOAD_SECONDS)
                    file.flush()
                    return await asyncio.to_thread(
                        _verdict, detector, Path(file.name), self.web.upload_seconds
                    )
            except OSError as error:
                reason = error.strerror or error
                raise HTTPException(507, f"cannot be kept ({reason})") from error


async def received_form(request: Request) -> str:
    """Returns the body of a request that holds a form."""
    file = io.BytesIO()
    await _receive(request, file, FORM_BYTES, FORM_SECONDS)
    return file.getvalue().decode(errors="replace")


async def _receive(request: Request, file: IO[bytes], most_bytes: int, seconds: float) -> None:
    """Writes the body of a request to a file; bounded in size and time."""
    too_large = HTTPException(413, f"a request may have {most_bytes} bytes here")
    # A client may state no length, or a wrong one, so the bytes are counted as well.
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most_bytes:
        raise too_large
    count = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                count += len(chunk)
                if count > most_bytes:
                    raise too_large
                file.write(chunk)
    except TimeoutError:
        raise HTTPException(408, f"not received within {seconds:g} s") from None


def _verdict(detector: Detector, path: Path, most_seconds: float) -> dict:
    """Returns the row that `detect score --json` gives, without the file's name."""
    try:
        seconds = audio_format(path)[0]
        # The length comes from the header, so that nothing is decoded yet.
        if seconds > most_seconds:
            raise InputError(f"{seconds:.0f} s of sound; at most {most_seconds:g} s are scored")
        read = functools.partial(read_clip, sample_rate=detector.settings.sample_rate)
        ((_, verdict),) = verdicts_of(detector, [path], read)
        if isinstance(verdict, InputError):
            raise verdict
    except InputError as error:
        # The client knows nothing of the temporary file.
        raise InputError(str(error).replace(str(path), "the recording")) from error
    return {name: value for name, value in row("", verdict).items() if name != "file"}
