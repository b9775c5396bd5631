"""Presents a recording to libsndfile as a header of our own followed by part of the file."""

import dataclasses
import io
from typing import BinaryIO


@dataclasses.dataclass(frozen=True)
class Sound:
    """Where the audio data of a file lies, and how libsndfile is to read it.

    Attributes:
        head: Bytes that libsndfile receives before those of the file.
        at: First byte of the file that it receives.
        size: Number of bytes of the file that it receives.
        claimed: Total size that is claimed to libsndfile, if it would otherwise stop at an
            estimate.
        plain: (channels, rate) if the data are uncompressed 16-bit samples.
        sound_bytes: Bytes of samples, if the container states them and libsndfile reads the
            container.
        frames: Required samples per channel; None if libsndfile reports them itself.
        open_end: Whether the decoder may continue after these samples.
        checked: Whether the length that libsndfile will report has been verified.
    """

    head: bytes = b""
    at: int = 0
    size: int = 0
    claimed: int = 0
    plain: tuple[int, int] | None = None
    sound_bytes: int | None = None
    frames: int | None = None
    open_end: bool = False
    checked: bool = True


def read_at(file: BinaryIO, place: int, size: int) -> bytes:
    """Returns `size` bytes of a file from byte `place` on, or fewer at its end."""
    file.seek(place)
    return file.read(size)


class Pieces(io.RawIOBase):
    """A header, part of a file, and zeros up to the claimed size, readable as one file.

    A failed read ends the file, because no exception can pass through libsndfile. The exception is
    stored in `failed`.
    """

    def __init__(self, file: BinaryIO, sound: Sound):
        self.file = file
        self.sound = sound
        self.failed = None
        self._at = 0
        self._end = len(sound.head) + sound.size
        # Zeros fill what is claimed beyond the end of the file.
        self._said_end = max(self._end, sound.claimed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._said_end}[whence]
        # A damaged header can request any position.
        self._at = min(max(0, base + offset), self._said_end)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        head = self.sound.head
        into = memoryview(buffer).cast("B")
        into = into[: max(0, self._said_end - self._at)]
        first = head[self._at : self._at + len(into)]
        into[: len(first)] = first
        done = len(first)
        # How much of the wanted piece is header or file; zeros follow.
        there = min(len(into), max(0, self._end - self._at))
        try:
            self.file.seek(self.sound.at + self._at + done - len(head))
            while done < there and (more := self.file.readinto(into[done:there])):
                done += more
        except OSError as error:
            self.failed = error
        if done >= there and self.failed is None:
            into[done:] = bytes(len(into) - done)
            done = len(into)
        self._at += done
        return done
