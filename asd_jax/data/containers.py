"""Locates the audio data in a file by walking its chunks, and trusts a header only as far as the
file's content confirms it.
"""

import dataclasses
import io
import struct
from typing import BinaryIO

from asd_jax.data.chunks import Kind, bytes_present, chunks_of, known_size, no_more_sound
from asd_jax.data.packets import find_flac, find_mp3, find_ogg, id3_length
from asd_jax.data.pieces import Sound, read_at
from asd_jax.runtime.errors import InputError

_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_MPEG = (0x50, 0x55)  # format tags of a wav that contains MP2 or MP3
_MOST = 0xFFFFFFFF
_LITTLE, _BIG = (Kind((b"fmt ", b"data"), f"{order}4sI") for order in "<>")
_KINDS = {
    (b"RIFF", b"WAVE"): _LITTLE,
    (b"RF64", b"WAVE"): _LITTLE,
    (b"BW64", b"WAVE"): _LITTLE,
    (b"RIFX", b"WAVE"): _BIG,
    (b"FORM", b"AIFF"): Kind((b"COMM", b"SSND"), ">4sI"),
    (b"FORM", b"AIFC"): Kind((b"COMM", b"SSND"), ">4sI"),
    (b"FORM", b"8SVX"): Kind((b"VHDR", b"BODY"), ">4sI"),
    (b"FORM", b"16SV"): Kind((b"VHDR", b"BODY"), ">4sI"),
}
_W64_KIND = Kind((b"fmt ", b"data"), "<4s12xQ", first=40, counted=24, step=8)
_CAF_KIND = Kind((b"desc", b"data"), ">4sq", first=8, step=1)


def find_sound(file: BinaryIO) -> Sound:
    """Returns where the audio data of an open file lies and how to decode it.

    A size that was unknown when the header was written (0, 0xFFFFFFFF and the like) means that the
    data extends to the end of the file. If the stated size of the data is that of the whole file,
    it is treated as unknown too.

    Raises:
        InputError: The file is empty, truncated, more than one recording, has several chunks of
            samples or formats, or has bytes that belong to no chunk. The message is worded to
            follow the name of the file.
    """
    end = file.seek(0, io.SEEK_END)
    if not end:
        raise InputError("empty, no bytes in it")
    begin = 0
    # Several tags may precede the sound.
    while length := id3_length(read_at(file, begin, 10)):
        begin += length
    head = read_at(file, begin, 16)
    kind = _KINDS.get((head[:4], head[8:12]))
    if head == _W64:
        kind = _W64_KIND
    elif head[:4] == b"caff":
        kind = _CAF_KIND
    if kind:
        return _chunked(file, begin, end, kind, head[:4])
    if head[:4] in (b".snd", b"dns."):
        # "dns." is .snd in little-endian order.
        order = ">" if head[:4] == b".snd" else "<"
        offset, size = struct.unpack_from(f"{order}II", head, 4)
        return _one_block(file, begin, begin + offset, None if size == 0xFFFFFFFF else size, end)
    if head[:7] == b"NIST_1A":
        return _nist(file, begin, end)
    if head[:4] == b"fLaC":
        return find_flac(file, begin, end)
    if head[:4] == b"OggS":
        return find_ogg(file, begin, end)
    return find_mp3(file, begin, end) or Sound(size=end, checked=False)


def _chunked(file: BinaryIO, begin: int, end: int, kind: Kind, magic: bytes) -> Sound:
    """Returns the audio data of a container after walking its chunks to the end."""
    forms = []
    data = []
    kept = b""
    for name, place, size in chunks_of(file, begin + kind.first, end, kind):
        if name == kind.names[1]:
            data.append(
                (
                    place,
                    known_size(
                        file=file, place=place, stated=size, end=end, kind=kind, formed=bool(forms)
                    ),
                )
            )
            # If the size is unknown or exceeds the file, the samples extend to the end of the file.
            if data[-1][1] is None or place + data[-1][1] > end:
                break
        elif name == kind.names[0]:
            # No format needs more than a kilobyte, whatever size is stated.
            forms.append(read_at(file, place, min(size, 1 << 10)))
        elif name == b"fact" and size < 1 << 10:
            kept = struct.pack(kind.head, name, size) + read_at(file, place, size)
    # Empty chunks of samples are ignored if there are others.
    sounding = [(place, size) for place, size in data if size != 0] or data
    if len(sounding) > 1:
        raise InputError(
            f"{len(sounding)} chunks of samples in one file, of which programs hear the first: "
            "convert it to one recording"
        )
    if len(set(forms)) > 1:
        raise InputError("two formats stated in one file, of which one is wrong: convert it")
    if not forms or not sounding:
        raise InputError("no samples in it, only a header; it may be truncated or damaged")
    place, stated = sounding[0]
    size = bytes_present(place, stated, end, end - begin)
    if kind in (_LITTLE, _BIG):
        return _wav(file=file, place=place, size=size, kind=kind, form=forms[0], fact=kept)
    # The data chunk of CAF begins with an edit count, that of AIFF with an offset and a block size.
    ahead = {b"caff": 4, b"FORM": 8 if kind.names[1] == b"SSND" else 0}.get(magic, 0)
    found = Sound(at=begin, size=end - begin, sound_bytes=max(size - ahead, 0))
    return found if stated == size else _with_size(file, found, place, size, kind)


def _with_size(file: BinaryIO, sound: Sound, place: int, size: int, kind: Kind) -> Sound:
    """Returns the same sound with the actual size inserted into the header, which does not state
    it.
    """
    # The size stands right before the samples.
    field = struct.pack(kind.head[0] + kind.head[-1], min(size + kind.counted, _MOST))
    # Limited, so that no file determines how much memory its header takes.
    head = read_at(file, sound.at, min(place - len(field) - sound.at, 1 << 24)) + field
    return dataclasses.replace(sound, head=head, at=place, size=size)


def _one_block(file: BinaryIO, begin: int, place: int, stated: int | None, end: int) -> Sound:
    """Returns the audio data of a file that consists of a header and one block of samples."""
    size = bytes_present(place, stated, end, end - begin)
    if place + size < end:
        no_more_sound(file, place + size, end, True)
    return Sound(at=begin, size=end - begin, sound_bytes=size)


def _nist(file: BinaryIO, begin: int, end: int) -> Sound:
    """Returns the audio data of a NIST SPHERE file, whose header lists name, type and value."""
    lines = read_at(file, begin, 1 << 14).decode("latin-1").splitlines()
    fields = {words[0]: words[2] for line in lines if len(words := line.split()) == 3}
    try:
        # The second line states the size of the header.
        header = int(lines[1])
        count = int(fields["sample_count"])
        channels = int(fields.get("channel_count", 1))
        size = count * channels * int(fields["sample_n_bytes"])
    except (LookupError, ValueError) as error:
        raise InputError("a damaged NIST header") from error
    return _one_block(file, begin, begin + header, size, end)


def _wav(file: BinaryIO, place: int, size: int, kind: Kind, form: bytes, fact: bytes) -> Sound:
    """Returns the audio data of a wav as its format and samples only, without any other chunks.

    libsndfile then receives a header that was written here.
    """
    order = kind.head[0]
    fields = struct.unpack_from(f"{order}HHIIHH", form.ljust(16, b"\0"))
    tag, channels, rate, _, step, bits = fields
    if tag in _MPEG:
        if found := find_mp3(file, place, place + size):
            return found
        raise InputError("a wav said to hold MP3, but no MP3 is in it")
    # Such samples need no decoder, see _PlainWav.
    plain = order == "<" and channels and (tag, step, bits) == (1, 2 * channels, 16)
    endless = struct.pack(f"{order}I", 0xFFFFFFFF)
    # libsndfile reads to the end of its input if the stated size is the maximum.
    data = struct.pack(f"{order}4sI", b"data", min(size, 0xFFFFFFFF) or 0xFFFFFFFF)
    head = (b"RIFF" if order == "<" else b"RIFX") + endless + b"WAVE"
    # RIFF pads every chunk to an even length.
    head += struct.pack(f"{order}4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
    return Sound(
        head=head + fact + bytes(len(fact) % 2) + data,
        at=place,
        size=size,
        plain=(channels, rate) if plain else None,
    )
