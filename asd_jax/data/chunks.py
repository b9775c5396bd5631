"""The chunks of a container, walked to the end of the file, and how many bytes of samples there
are.
"""

import dataclasses
import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

from asd_jax.data.pieces import at
from asd_jax.runtime.errors import InputError

# What the first bytes of a recording are, also of one that begins where another ends.
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"caff", b".snd", b"fLaC")
_BEGINNINGS += (b"OggS", b"NIST_1A")
_KNOWN = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"PEAK", b"cue ", b"smpl", b"JUNK")
_KNOWN += (b"PAD ", b"fact", b"_PMX", b"afsp", b"MARK", b"INST", b"COMT", b"ANNO", b"NAME", b"AUTH")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"(c) ")
# From here on a size that is not there is what programs write that do not know it: arecord
# 0x80000000, sox 0x7FFFF000, services 2000000000, ffmpeg 0xFFFFFFFF. Sound that is wholly there
# may be as long.
_ENDLESS = 2_000_000_000
_SCRAP = 512  # bytes after the samples that are too few to be a lost recording


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a container writes its chunks.

    Attributes:
        names: of the chunks of the format and of the samples.
        head: struct of a chunk's name and size.
        first: byte at which the first chunk begins.
        counted: bytes of a chunk's head that its size counts in.
        step: multiple of bytes at which a chunk begins.
    """

    names: tuple[bytes, bytes]
    head: str
    first: int = 12
    counted: int = 0
    step: int = 2


def chunks_of(file: BinaryIO, place: int, end: int, kind: Kind) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, bytes) of each chunk; after the samples, what is left must be no more
    sound.
    """
    heard, wide, width = False, 0xFFFFFFFF, struct.calcsize(kind.head)
    while place + width <= end:
        name, size = struct.unpack(kind.head, at(file, place, width))
        size = size - kind.counted if size != -1 else 0xFFFFFFFF
        if name == kind.names[1]:
            size = max(size, 0)
        known = size >= 0 and (name == kind.names[1] or name in _KNOWN)
        if not known and not (_is_name(name) and 0 <= size <= end - place - width):
            no_more_sound(file, place, end, heard)
            return
        if name == b"ds64" and size >= 16:  # of RF64 and BW64: sizes that 32 bits do not hold
            wide = struct.unpack("<8xQ", at(file, place + width, 16))[0]
        if name == kind.names[1]:
            heard, size = True, wide if size == 0xFFFFFFFF else size
        yield name, place + width, size
        after = place + width + size
        place = after + -size % kind.step
        if place != after and not _is_chunk(file, place, end, kind):
            place = after if _is_chunk(file, after, end, kind) else place  # an odd one, not padded


def known_size(
    file: BinaryIO, place: int, stated: int, end: int, kind: Kind, formed: bool
) -> int | None:
    """Bytes of samples that a chunk states; None where they were not known when it was written."""
    left = end - place
    if stated == 0 and left and formed:
        chunks = itertools.islice(_walkable(file, place, end, kind), 1 << 12)
        return 0 if all(chunks) else None  # what follows is chunks to the end: nothing was recorded
    return None if stated > left and stated >= _ENDLESS else stated


def bytes_there(place: int, stated: int | None, end: int, whole: int) -> int:
    """Bytes of samples in the file; the size of the file itself was stated in place of theirs by
    some programs.
    """
    left = max(end - place, 0)
    if stated is None or (stated > left and stated in (whole, whole - 8)):
        return left
    if stated > left:
        raise InputError(
            f"truncated, the header states {stated} bytes of sound but {left} are there"
        )
    return stated


def no_more_sound(file: BinaryIO, place: int, end: int, heard: bool) -> None:
    """Raises InputError where the bytes that no chunk explains may be sound."""
    rest = at(file, place, 16)
    if rest.startswith(_BEGINNINGS):
        raise InputError(
            f"another recording begins at byte {place}: split the file, or convert it to one"
        )
    if not heard:
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
    """Whether a chunk that fits into the file begins there."""
    width = struct.calcsize(kind.head)
    head = at(file, place, width)
    if len(head) < width:
        return False
    name, size = struct.unpack(kind.head, head)
    fits = 0 <= size - kind.counted <= end - place - width
    return _is_name(name) and (fits or name == kind.names[1])


def _walkable(file: BinaryIO, place: int, end: int, kind: Kind) -> Iterator[bool]:
    """Whether a chunk begins where the one before it ends, to the end of the file."""
    width = struct.calcsize(kind.head)
    while end - place >= width:
        good = _is_chunk(file, place, end, kind)
        yield good
        if not good:
            return
        size = max(0, struct.unpack(kind.head, at(file, place, width))[1] - kind.counted)
        place += width + size + -size % kind.step
    yield _zeros(file, place, end)


def _zeros(file: BinaryIO, place: int, end: int) -> bool:
    file.seek(place)
    blocks = iter(lambda: file.read(min(1 << 20, end - file.tell())), b"")
    return all(block.count(0) == len(block) for block in blocks)
