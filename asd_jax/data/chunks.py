"""Walks the chunks of a container to the end of the file, and determines how many bytes of samples
there are.
"""

import dataclasses
import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

from asd_jax.data.pieces import read_at
from asd_jax.runtime.errors import InputError

# The first bytes of a recording. They also reveal a recording that begins where another ends.
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"caff", b".snd", b"fLaC")
_BEGINNINGS += (b"OggS", b"NIST_1A")
_KNOWN = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"PEAK", b"cue ", b"smpl", b"JUNK")
_KNOWN += (b"PAD ", b"fact", b"_PMX", b"afsp", b"MARK", b"INST", b"COMT", b"ANNO", b"NAME", b"AUTH")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"(c) ")
# A size from here on that exceeds the file is one that programs write when they do not know the
# size: arecord 0x80000000, sox 0x7FFFF000, services 2000000000, ffmpeg 0xFFFFFFFF. A recording that
# is complete may have such a size too.
ENDLESS = 2_000_000_000
# So few bytes after the samples cannot be a lost recording.
_SCRAP = 512


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a container stores its chunks.

    Attributes:
        names: Names of the chunks of the format and of the samples.
        head: Struct format of a chunk's name and size.
        first: Byte at which the first chunk begins.
        counted: Number of bytes of a chunk's header that its stated size includes.
        step: Alignment of the chunks in bytes.
    """

    names: tuple[bytes, bytes]
    head: str
    first: int = 12
    counted: int = 0
    step: int = 2


def chunks_of(file: BinaryIO, place: int, end: int, kind: Kind) -> Iterator[tuple[bytes, int, int]]:
    """Yields the (name, first byte, bytes) of each chunk.

    Raises:
        InputError: What follows the samples may be more sound, or no chunk begins where one should.
    """
    found_samples = False
    wide = 0xFFFFFFFF
    width = struct.calcsize(kind.head)
    while place + width <= end:
        name, size = struct.unpack(kind.head, read_at(file, place, width))
        # CAF marks an unknown size by -1; other containers use 0xFFFFFFFF.
        size = size - kind.counted if size != -1 else 0xFFFFFFFF
        if name == kind.names[1]:
            # A negative size would lead the walk backwards.
            size = max(size, 0)
        # A known name is believed, even if its size exceeds the file.
        known = size >= 0 and (name == kind.names[1] or name in _KNOWN)
        if not known and not (_is_name(name) and 0 <= size <= end - place - width):
            no_more_sound(file, place, end, found_samples)
            return
        # The ds64 chunk of RF64 and BW64 holds sizes that exceed 32 bits.
        if name == b"ds64" and size >= 16:
            # After the size of the file comes that of the samples.
            wide = struct.unpack("<8xQ", read_at(file, place + width, 16))[0]
        if name == kind.names[1]:
            found_samples = True
            size = wide if size == 0xFFFFFFFF else size
        yield name, place + width, size
        after = place + width + size
        place = after + -size % kind.step
        if place != after and not _is_chunk(file, place, end, kind):
            # Some programs do not pad a chunk of odd size.
            place = after if _is_chunk(file, after, end, kind) else place


def known_size(
    file: BinaryIO, place: int, stated: int, end: int, kind: Kind, formed: bool
) -> int | None:
    """Returns the bytes of samples that a chunk states, or None if the size was unknown when it was
    written.
    """
    left = end - place
    if stated == 0 and left and formed:
        # A bounded number, as samples may look like an endless row of empty chunks.
        chunks = itertools.islice(_walkable(file, place, end, kind), 1 << 12)
        # If only chunks follow until the end of the file, nothing was recorded.
        return 0 if all(chunks) else None
    return None if stated > left and stated >= ENDLESS else stated


def bytes_present(place: int, stated: int | None, end: int, whole: int) -> int:
    """Returns the bytes of samples in the file.

    Some programs state the size of the file instead of that of the samples; the bytes to the end of
    the file are then returned.

    Raises:
        InputError: The file is shorter than the stated size.
    """
    left = max(end - place, 0)
    # The size field of RIFF counts the file without its first 8 bytes.
    if stated is None or (stated > left and stated in (whole, whole - 8)):
        return left
    if stated > left:
        raise InputError(
            f"truncated, the header states {stated} bytes of sound but {left} are there"
        )
    return stated


def no_more_sound(file: BinaryIO, place: int, end: int, found_samples: bool) -> None:
    """Raises InputError if bytes that belong to no chunk may be sound."""
    rest = read_at(file, place, 16)
    if rest.startswith(_BEGINNINGS):
        raise InputError(
            f"another recording begins at byte {place}: split the file, or convert it to one"
        )
    if not found_samples:
        raise InputError(f"a damaged header: no chunk begins at byte {place}")
    scrap = end - place <= _SCRAP or rest.startswith(_TAGS)
    if not scrap and not _zeros(file, place, end):
        raise InputError(
            f"{end - place} bytes follow the sound that the header states and are no chunk of a "
            "wav or the like: the size is wrong, or the file is damaged; convert it"
        )


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name) and name not in _BEGINNINGS


def _is_chunk(file: BinaryIO, place: int, end: int, kind: Kind) -> bool:
    """Returns whether a chunk that fits into the file begins at byte `place`."""
    width = struct.calcsize(kind.head)
    head = read_at(file, place, width)
    if len(head) < width:
        return False
    name, size = struct.unpack(kind.head, head)
    # A chunk of samples may have been written before its size was known.
    fits = 0 <= size - kind.counted <= end - place - width
    return _is_name(name) and (fits or name == kind.names[1])


def _walkable(file: BinaryIO, place: int, end: int, kind: Kind) -> Iterator[bool]:
    """Yields, up to the end of the file, whether a chunk begins where the previous one ends."""
    width = struct.calcsize(kind.head)
    while end - place >= width:
        good = _is_chunk(file, place, end, kind)
        yield good
        if not good:
            return
        size = max(0, struct.unpack(kind.head, read_at(file, place, width))[1] - kind.counted)
        place += width + size + -size % kind.step
    yield _zeros(file, place, end)


def _zeros(file: BinaryIO, place: int, end: int) -> bool:
    file.seek(place)
    blocks = iter(lambda: file.read(min(1 << 20, end - file.tell())), b"")
    return all(block.count(0) == len(block) for block in blocks)
