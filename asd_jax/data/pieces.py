"""A file as libsndfile is to see it: bytes of ours, then a stretch of the file."""

import dataclasses
import io
from typing import BinaryIO


@dataclasses.dataclass(frozen=True)
class Sound:
    """Where a file's sound lies.

    Attributes:
        head: bytes that libsndfile is given before those of the file.
        at: first byte of the file that it is given.
        size: how many it is given.
        claimed: bytes that it is told there are, where it would stop at an estimate otherwise.
        plain: channels and rate, where these are 16-bit samples as they are.
        sound_bytes: of samples, where the container counts them and libsndfile sees the container.
        frames: samples of a channel that there must be; None where libsndfile says it itself.
        open_end: whether decoding may go on after them.
        checked: whether the length that libsndfile will say has been checked.
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


def at(file: BinaryIO, place: int, size: int) -> bytes:
    """So many bytes of a file from a place on, fewer at its end."""
    file.seek(place)
    return file.read(size)


class Pieces(io.RawIOBase):
    """A head, a stretch of a file, and zeros up to the size claimed, to be read as one file.

    A read that fails ends it, since no exception passes through libsndfile; `failed` keeps it.
    """

    def __init__(self, file: BinaryIO, sound: Sound):
        self.file, self.sound, self.failed = file, sound, None
        self._at, self._end = 0, len(sound.head) + sound.size
        self._said_end = max(self._end, sound.claimed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._said_end}[whence]
        self._at = min(max(0, base + offset), self._said_end)  # headers send it anywhere
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        head, into = self.sound.head, memoryview(buffer).cast("B")
        into = into[: max(0, self._said_end - self._at)]
        first = head[self._at : self._at + len(into)]
        into[: len(first)] = first
        done, there = len(first), min(len(into), max(0, self._end - self._at))
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
