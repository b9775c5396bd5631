"""Locates the audio data in MP3, Ogg and FLAC files by walking their frames or pages to the end."""

import mmap
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from asd_jax.data.pieces import Sound, read_at
from asd_jax.runtime.errors import InputError

_LARGEST = 3000  # bytes; larger than any MPEG frame
_MOST_SAMPLES = (1 << 36) - 1  # the largest number of samples that a FLAC header can state
# Bit rates in kbit/s by (whether it is MPEG version 1, layer), from ISO 11172-3 and 13818-3.
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BITRATES[False, 3] = _BITRATES[False, 2]
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200", b"3DI")


class Frame(NamedTuple):
    """The header of an MPEG frame: its size in bytes, its samples per channel, and the properties
    that must not change within a file.
    """

    size: int
    samples: int
    kind: tuple[int, int, int, bool]  # version, layer, rate in Hz, mono


def mpeg_frame(head: bytes) -> Frame | None:
    """Returns the MPEG frame whose header `head` begins with, or None for anything else.

    Frames with a free bit rate also give None.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version = head[1] >> 3 & 3
    layer = 4 - (head[1] >> 1 & 3)
    bitrate = head[2] >> 4
    rate = head[2] >> 2 & 3
    padded = head[2] >> 1 & 1
    # Values that the standard reserves; a bit rate of 0 leaves the size of the frame open.
    if version == 1 or layer == 4 or not 0 < bitrate < 15 or rate == 3:
        return None
    # The header codes MPEG 1 as 3, MPEG 2 as 2 and MPEG 2.5 as 0.
    first = version == 3
    hz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    bits = _BITRATES[first, layer][bitrate - 1] * 1000
    if layer == 1:
        size = (12 * bits // hz + padded) * 4
    else:
        size = samples // 8 * bits // hz + padded
    # Channel mode 3 is mono; the other modes have two channels.
    return Frame(size, samples, (version, layer, hz, head[3] >> 6 == 3))


def id3_length(head: bytes) -> int:
    """Returns the size in bytes of the ID3 tag that `head` begins with, or 0 if there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    # The size has 7 bits per byte, and excludes the header and the optional footer.
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def find_mp3(file: BinaryIO, begin: int, end: int) -> Sound | None:
    """Returns where MPEG audio lies between the bytes `begin` and `end` of a file, or None if there
    is none.

    Raises:
        InputError: The audio is truncated, changes its format, holds more than one recording, or
            has bytes between its frames that belong to no frame.
    """
    begin = _first_not_zero(file, begin, end)
    head = read_at(file, begin, 4)
    first = mpeg_frame(head)
    if first is None:
        if begin >= end and read_at(file, 0, 3) == b"ID3":
            raise InputError("empty, a tag and no sound in it")
        return None
    after = read_at(file, begin + first.size, 4)
    if len(after) == 4 and not mpeg_frame(after) and not after.startswith((*_TAGS, bytes(4))):
        # Two bytes of arbitrary data may look like a frame header, so a second frame must follow.
        return None
    # Encoders write a first frame without sound, which states the number of the others.
    stated, tagged = _stated_frames(read_at(file, begin, min(first.size, 512)))
    count = 0
    place = begin + first.size * tagged
    for frame in _frames(file, place, end, first):
        count = count + 1
        place = place + frame.size
    if not count:
        raise InputError("empty, a header and no sound in it")
    # Encoders differ in whether they count that frame, so that one more or less is right.
    if stated and stated - count > 1:
        raise InputError(f"truncated, the header states {stated} frames but {count} are there")
    if stated and count - stated > 1:
        raise InputError(
            f"{count} frames, but the header states {stated}: several recordings joined, or a "
            "wrong header; convert it"
        )
    if tagged:
        return Sound(at=begin, size=place - begin)
    # Without a frame count in its header, the decoder estimates the length from the size of the
    # first frame and stops there. A larger claimed size makes it read to the end.
    claimed = (count + 1) * _LARGEST
    return Sound(at=begin, size=place - begin, claimed=claimed, frames=count * first.samples)


def _frames(file: BinaryIO, place: int, end: int, first: Frame) -> Iterator[Frame]:
    """Yields the frames from byte `place` to byte `end`, all of the same kind as the first.

    Only tags and zeros may follow the last frame.
    """
    while place < end:
        head = read_at(file, place, 4)
        frame = mpeg_frame(head)
        if frame is None:
            if head.startswith(_TAGS) or _first_not_zero(file, place, end) >= end:
                return
            raise InputError(f"damaged, no MP3 frame at byte {place}; convert it")
        if frame.kind != first.kind:
            raise InputError(
                f"sampling rate, channels or coding change at byte {place}: several recordings "
                "joined; convert it to one"
            )
        if place + frame.size > end:
            raise InputError(f"truncated, it ends inside the frame at byte {place}")
        if _stated_frames(read_at(file, place, min(frame.size, 512)))[1]:
            raise InputError(f"another recording begins at byte {place}: split it, or convert it")
        yield frame
        place += frame.size


def _stated_frames(frame: bytes) -> tuple[int, bool]:
    """Returns the number of frames that this frame states, and whether it is a header without
    sound.
    """
    # It starts at byte 13, 21 or 36, depending on version and channels.
    info = next((tag for tag in (b"Xing", b"Info") if tag in frame[4:44]), None)
    if info:
        flags, count = struct.unpack_from(">II", frame.ljust(520, b"\0"), frame.index(info) + 4)
        return (count if flags & 1 else 0), True
    if frame[36:40] == b"VBRI":
        return struct.unpack_from(">I", frame.ljust(54, b"\0"), 50)[0], True
    return 0, False


def _first_not_zero(file: BinaryIO, place: int, end: int) -> int:
    file.seek(place)
    while place < end and (block := file.read(min(1 << 16, end - place))):
        if rest := block.lstrip(b"\0"):
            return place + len(block) - len(rest)
        place += len(block)
    return place


def find_flac(file: BinaryIO, begin: int, end: int) -> Sound:
    """Returns where the FLAC audio lies.

    The total number of samples in the header is not passed on, so that the decoder counts them.

    Raises:
        InputError: The header is truncated, or the file holds more than one recording.
    """
    head = read_at(file, begin, 26)
    if len(head) < 26:
        raise InputError("truncated, it ends inside its header")
    # Mapped, as FLAC frames state no size and the search must see the whole file.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if another := re.compile(rb"fLaC[\x00\x80]\x00\x00\x22").search(content, begin + 4):
            raise InputError(
                f"another recording begins at byte {another.start()}: split it, or convert it"
            )
    # The last 36 bits of this field are the total.
    field = int.from_bytes(head[21:], "big")
    total = field & _MOST_SAMPLES
    head = head[:21] + (field | _MOST_SAMPLES).to_bytes(5, "big")
    return Sound(head, begin + 26, end - begin - 26, frames=total or None, open_end=True)


def find_ogg(file: BinaryIO, begin: int, end: int) -> Sound:
    """Returns where the Ogg stream lies.

    Raises:
        InputError: The stream is truncated, a page is missing, there is more than one stream of
            sound, or some bytes belong to no page.
    """
    place = begin
    pages = {}
    last = {}
    began = False
    codecs = {}
    while place < end:
        head = read_at(file, place, 27)
        if head[:4] != b"OggS":
            if head[:3] == b"TAG" or _first_not_zero(file, place, end) >= end:
                break
            raise InputError(f"damaged, no Ogg page at byte {place}; convert it")
        table = read_at(file, place + 27, head[26]) if len(head) == 27 else b""
        size = 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or place + size > end:
            raise InputError(f"truncated, it ends inside the page at byte {place}")
        # Flag 2 begins a stream, flag 4 ends it.
        flags = head[5]
        serial, number = struct.unpack_from("<II", head, 14)
        if flags & 2:
            if began:
                raise InputError(
                    f"another recording begins at byte {place}: split it, or convert it to one"
                )
            codecs[serial] = read_at(file, place + 27 + len(table), 8)
        else:
            # Pages that begin a stream stand before all others, so that one further on is new.
            began = True
            if number != pages.get(serial, number - 1) + 1:
                raise InputError(f"damaged, pages are missing before byte {place}")
        pages[serial] = number
        last[serial] = bool(flags & 4)
        place += size
    if len(codecs) > 1 or not codecs:
        raise InputError(f"{len(codecs)} streams in one Ogg file; convert it to one of sound")
    if not all(last.values()):
        raise InputError(
            "truncated, its last page does not end the stream; where it was recorded from a live "
            "stream, convert it"
        )
    return Sound(at=begin, size=place - begin)
