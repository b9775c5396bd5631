"""Opens a recording and provides its rate, channels and samples, a bounded number of samples at a
time.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from jaxtyping import Int16, Shaped

from asd_jax.data.containers import find_sound
from asd_jax.data.pieces import Pieces, Sound
from asd_jax.runtime.errors import InputError, error_context

# A sampling rate outside this range indicates a damaged header.
SLOWEST_HZ = 1_000
FASTEST_HZ = 768_000
TO_WAV = "convert it, e.g. ffmpeg -i FILE sound.wav"
# The number of values decoded at a time, so that no header determines how much memory is used.
_BLOCK = 1 << 22
# The length of these containers is known only after decoding.
_COMPRESSED = ("FLAC", "OGG", "MP3")
_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_BYTES |= {"ULAW": 1, "ALAW": 1}
# The messages of libsndfile that a user can understand. All others are replaced by our own words.
_CLEAR = {
    "Error : flac decoder lost sync.": "a FLAC that is cut short or damaged",
    "Format not recognised.": "format not recognised",
    "File contains data in an unknown format.": "a coding that is not known here",
    "File contains data in an unimplemented format.": "a coding that is not known here",
}


class _Forward(soundfile.SoundFile):
    """libsndfile's reader for reading from beginning to end only.

    It must not seek, because libsndfile cannot seek if the length is unknown.
    """

    def seekable(self) -> bool:
        return False


class _PlainWav:
    """A wav of uncompressed 16-bit samples, read directly from the file.

    Most of DCASE has this format, and reading it takes a fraction of libsndfile's time.
    """

    format = "WAV"
    subtype = "PCM_16"

    def __init__(self, file: BinaryIO, sound: Sound):
        self.channels, self.samplerate = sound.plain
        self.file = file
        self.frames = sound.size // (2 * self.channels)
        # np.fromfile reads from here on.
        file.seek(sound.at)

    def read(self, frames: int, **_) -> Int16[np.ndarray, "s c"]:
        samples = np.fromfile(self.file, "<i2", frames * self.channels)
        return samples.astype(np.int16, copy=False).reshape(-1, self.channels)


class Recording:
    """An open audio file.

    Attributes:
        rate: Sampling rate in Hz.
        channels: Number of channels.
    """

    def __init__(self, file: BinaryIO):
        """Takes an open file.

        Raises:
            InputError: The file is not sound, is incomplete, or has a format whose length cannot be
                checked.
        """
        self._sound = sound = find_sound(file)
        if sound.plain:
            self._decoder = _PlainWav(file, sound)
        else:
            self._pieces = Pieces(file, sound)
            self._decoder = _Forward(self._pieces)
        self.rate = self._decoder.samplerate
        self.channels = self._decoder.channels
        # libsndfile accepts an HTK file only if its size agrees with its header.
        if not sound.checked and self._decoder.format != "HTK":
            raise InputError(
                f"{self._decoder.format} files are not read, since their length cannot be "
                f"checked; {TO_WAV}"
            )
        if not SLOWEST_HZ <= self.rate <= FASTEST_HZ:
            raise InputError(
                f"a sampling rate of {self.rate} Hz; expected {SLOWEST_HZ} to {FASTEST_HZ}"
            )
        self._frames = self._decoder.frames if sound.frames is None else sound.frames
        width = _BYTES.get(self._decoder.subtype, 0) * self.channels
        if width and sound.sound_bytes is not None and sound.sound_bytes // width != self._frames:
            raise InputError(
                f"the header states {sound.sound_bytes // width} samples, but {self._frames} are "
                f"found; {TO_WAV}"
            )

    @property
    def frames(self) -> int | None:
        """Samples per channel, or None if only decoding reveals them."""
        return None if self._decoder.format in _COMPRESSED else self._frames

    def blocks(self) -> Iterator[Shaped[np.ndarray, "s c"]]:
        """Yields the samples in order: int16 if the file holds 16-bit samples, otherwise float32.

        Raises:
            InputError: There are fewer samples than required, or more.
        """
        # Channels count, too: a header may state thousands.
        most = _BLOCK // self.channels
        count = 0
        # 16-bit samples stay integers, which are exact and take half the memory.
        dtype = "int16" if self._decoder.subtype == "PCM_16" else "float32"
        while count < self._frames:
            wanted = min(most, self._frames - count)
            block = self._decoder.read(wanted, dtype=dtype, always_2d=True)
            if not len(block):
                break
            count += len(block)
            yield block
        if count < self._frames and not (self._sound.open_end and self._sound.frames is None):
            raise InputError(
                f"truncated, the header states {self._frames} samples but {count} are there"
            )
        # The decoder was told of no end, so that it would reveal what the header hides.
        if self._sound.open_end and self._sound.frames is not None and self._more():
            raise InputError(f"more samples than the {count} that the header states; {TO_WAV}")
        if not self._sound.plain and self._pieces.failed:
            raise self._pieces.failed

    def _more(self) -> bool:
        """Returns whether samples follow those that the header states.

        Bytes that are not sound may follow them.
        """
        try:
            return len(self._decoder.read(1, dtype="int16", always_2d=True)) > 0
        except soundfile.SoundFileRuntimeError:
            return False


@contextlib.contextmanager
def open_recording(path: str | Path) -> Iterator[Recording]:
    """Context manager: yields a recording; any problem with it raises an InputError that names the
    file.

    Raises:
        InputError: The file does not exist, is not a regular file, is not sound, or is incomplete.
    """
    with error_context(str(path)), _in_words():
        # Before opening, because opening a pipe would wait for its writer.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or device, not a file"
            raise InputError(f"not readable as audio ({what})")
        with open(path, "rb") as file:
            yield Recording(file)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Context manager: turns the exceptions of opening and decoding into an InputError for the
    user.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file") from error
    except soundfile.LibsndfileError as error:
        reason = _CLEAR.get(error.error_string, "damaged, or of a coding that is not known here")
        raise InputError(f"not readable as audio ({reason}); {TO_WAV}") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})") from error
    except (RuntimeError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"not readable as audio (damaged); {TO_WAV}") from error
