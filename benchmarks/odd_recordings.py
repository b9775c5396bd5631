"""Creates random recordings in unusual formats, with the result that reading must give, for
fuzz_audio and the tests.
"""

import dataclasses
import io
import struct
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.data.audio import read_clip_int16, to_int16
from asd_jax.runtime.errors import InputError

RATE = 16000
STREAMED = (0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 2_000_000_000, 0xFFFFFFFF - 36, 0xFFFFFFFF)
PCM_16 = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
_METADATA = (b"LIST", b"id3 ", b"bext", b"iXML", b"JUNK", b"cue ", b"note", b"_PMX")
_COMPRESSED = (("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))
_CHUNKED = (("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"))
_CHUNKED += (("RF64", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("NIST", "PCM_16"))


@dataclasses.dataclass(frozen=True)
class Case:
    """The bytes of a file, and the required result of reading it.

    Attributes:
        kind: Description of the kind of file.
        content: The bytes.
        sound: Everything that was recorded, int16 at 16 kHz; None if the file does not contain all
            of it.
        readable: Whether the file must be read; otherwise refusing it is right too.
    """

    kind: str
    content: bytes
    sound: np.ndarray | None
    readable: bool = False


def fault_of(case: Case, path: Path) -> str:
    """Reads the case from a file, and returns what is wrong with the result, or ""."""
    path.write_bytes(case.content)
    try:
        read = read_clip_int16(path)
    except InputError as error:
        if case.readable:
            return f"{case.kind}: refused, {error}"
        return "" if str(error).startswith(str(path)) else f"{case.kind}: not named, {error}"
    except Exception as error:
        return f"{case.kind}: {type(error).__name__}: {error}"
    if case.sound is None:
        return f"{case.kind}: read as {len(read)} samples, though not all of it is there"
    if not np.array_equal(read, case.sound):
        return f"{case.kind}: {len(read)} samples that are not the {len(case.sound)} recorded"
    return ""


def random_case(rng: np.random.Generator) -> Case:
    """Returns a case of a random kind."""
    makers = (_orders, _sizes, _several, _nothing_but_metadata, _whole, _cut, _joined, _totals)
    return makers[rng.integers(len(makers))](rng)


def noise(rng: np.random.Generator, least: int = 800, most: int = 9000) -> np.ndarray:
    """Returns a random number of 16-bit samples, none of them zero, so that none is taken for
    padding.
    """
    wave = rng.integers(1, 9000, rng.integers(least, most)).astype(np.int16)
    return np.where(rng.random(len(wave)) < 0.5, wave, -wave).astype(np.int16)


def chunk(name: bytes, content: bytes, *, size: int | None = None, padded: bool = True) -> bytes:
    """Returns a chunk of a wav."""
    size = len(content) if size is None else size
    return name + struct.pack("<I", size) + content + bytes(len(content) % 2 if padded else 0)


def wav(*chunks: bytes) -> bytes:
    """Returns a wav that consists of the given chunks."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def written(sound: np.ndarray, form: str, coding: str) -> bytes:
    """Returns the bytes of the file that libsndfile writes for int16 samples."""
    file = io.BytesIO()
    soundfile.write(file, sound / 32768, RATE, format=form, subtype=coding)
    return file.getvalue()


def untagged(mp3: bytes) -> bytes:
    """Returns an MP3 without its first frame, which states the length, as if written to a pipe."""
    return mp3[mp3.find(mp3[:2], 4) :]


def flac_total(content: bytes, samples: int) -> bytes:
    """Returns a FLAC that states another number of samples; 0 means unknown."""
    high = int.from_bytes(content[21:26], "big") >> 36
    return content[:21] + (high << 36 | samples).to_bytes(5, "big") + content[26:]


def decoded(content: bytes) -> np.ndarray:
    """Returns the 16-bit samples that libsndfile decodes from a whole file."""
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        return to_int16(file.read(dtype="float32").clip(-1, 1))


def _metadata(rng: np.random.Generator, most: int = 4) -> list[bytes]:
    return [
        chunk(_METADATA[rng.integers(len(_METADATA))], rng.bytes(rng.integers(0, 99)))
        for _ in range(rng.integers(most))
    ]


def _orders(rng) -> Case:
    """Returns a file with metadata chunks anywhere, also of odd size, padded or not."""
    sound = noise(rng)
    odd = chunk(b"LIST", b"INFO" + bytes(2 * rng.integers(9) + 1), padded=bool(rng.integers(2)))
    before = [*_metadata(rng), chunk(b"fmt ", PCM_16), *_metadata(rng), odd]
    content = wav(*before, chunk(b"data", sound.tobytes()), *_metadata(rng))
    return Case("chunks in any order", content, sound, True)


def _sizes(rng) -> Case:
    """Returns a file whose stated size is unknown, that of the whole file, or wrong."""
    sound = noise(rng)
    form = chunk(b"fmt ", PCM_16)
    data = sound.tobytes()
    match rng.integers(4):
        case 0:
            stated = int(rng.choice(STREAMED))
            content = wav(*_metadata(rng), form, chunk(b"data", data, size=stated))
            return Case(f"streamed, {stated:#x}", content, sound, True)
        case 1:
            content = wav(form, chunk(b"data", data, size=len(data) + 44))
            return Case("the file's size for the samples'", content, sound, True)
        case 2:
            content = wav(form, chunk(b"data", data, size=len(data) + int(rng.integers(200, 9999))))
            return Case("more stated than there is", content, None)
        case _:
            content = wav(form, chunk(b"data", data, size=len(data) // 4 * 2))
            return Case("less stated than there is", content, sound)


def _several(rng) -> Case:
    """Returns a file with several chunks of samples or formats."""
    sound = noise(rng)
    more = noise(rng)
    form = chunk(b"fmt ", PCM_16)
    first = chunk(b"data", sound.tobytes())
    second = chunk(b"data", more.tobytes())
    if rng.integers(2):
        between = _metadata(rng)
        content = wav(form, first, *between, second)
        return Case("two chunks of samples", content, np.concatenate([sound, more]))
    stereo = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16))
    formats = [form, stereo] if rng.integers(2) else [stereo, form]
    return Case("two formats", wav(*formats, *_metadata(rng), first), sound)


def _nothing_but_metadata(rng) -> Case:
    """Returns an empty recording with metadata that could be mistaken for sound."""
    text = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 2000) + rng.bytes(2000))
    content = wav(chunk(b"fmt ", PCM_16), *_metadata(rng), chunk(b"data", b""), text)
    return Case("empty, with metadata", content, None)


def _whole(rng) -> Case:
    """Returns a valid file of any container."""
    form, coding = (_COMPRESSED + _CHUNKED)[rng.integers(len(_COMPRESSED + _CHUNKED))]
    content = written(noise(rng), form, coding)
    if form == "MP3" and rng.integers(2):
        packed = chunk(b"fmt ", struct.pack("<HHIIHHH", 0x55, 1, RATE, 4000, 1, 0, 0))
        return Case("MP3 in wav", wav(packed, chunk(b"data", content)), decoded(content), True)
    return Case(f"{form} {coding}", content, decoded(content), True)


def _cut(rng) -> Case:
    """Returns a file of any container without its end."""
    form, coding = (_COMPRESSED + _CHUNKED)[rng.integers(len(_COMPRESSED + _CHUNKED))]
    content = written(noise(rng, least=4000), form, coding)
    return Case(f"{form} {coding}, cut", content[: rng.integers(20, len(content) * 9 // 10)], None)


def _joined(rng) -> Case:
    """Returns a file with two recordings."""
    form, coding = (_COMPRESSED + _CHUNKED)[rng.integers(len(_COMPRESSED + _CHUNKED))]
    one, two = (written(noise(rng), form, coding) for _ in range(2))
    both = np.concatenate([decoded(one), decoded(two)])
    return Case(f"{form} {coding}, two joined", one + two, both)


def _totals(rng) -> Case:
    """Returns a FLAC or MP3 whose length is not stated, or wrong."""
    sound = noise(rng, least=4000)
    if rng.integers(2):
        content = written(sound, "FLAC", "PCM_16")
        total = int(rng.choice([0, 1, len(sound) - 7, len(sound) + 7, 2 * len(sound)]))
        stated = None if total > len(sound) else sound
        return Case(
            "FLAC that states none, or a wrong total", flac_total(content, total), stated, not total
        )
    content = written(sound, "MP3", "MPEG_LAYER_III")
    if not rng.integers(2):
        place = content.index(b"Xing") if b"Xing" in content else content.index(b"Info")
        there = struct.unpack_from(">I", content, place + 8)[0]
        wrong = content[: place + 8] + struct.pack(">I", 2 * there) + content[place + 12 :]
        return Case("MP3 that states twice its frames", wrong, None)
    return Case("MP3 that states nothing", untagged(content)[:-3], None)
